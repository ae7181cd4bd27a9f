/* Charts as SVG inside of an HTML page. Colors and sizes of text are the page's (report.c), by classes. */
#include "cli/report.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 720, HEIGHT = 260, LEFT = 72, RIGHT = 16, TOP = 28, BOTTOM = 44 };

void chart_text(FILE *f, const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        const char *entity = s[i] == '&'    ? "&amp;"
                             : s[i] == '<'  ? "&lt;"
                             : s[i] == '>'  ? "&gt;"
                             : s[i] == '"'  ? "&quot;"
                             : s[i] == '\'' ? "&#39;"
                             : s[i] == '\n' ? "\n"
                                            : NULL;
        const size_t length = entity ? 1 : cli_printable(s + i, n - i);
        if (entity)
            fputs(entity, f);
        else if (length)
            fwrite(s + i, 1, length, f);
        else
            fputs(s[i] == '\t' ? "\t" : "\357\277\275", f); // U+FFFD for what is no text
        i += length ? length : 1;
    }
}

/* ---- axes ---- */

typedef struct axis {
    double low, high; // of values, logarithms where the scale is one
    bool log_scale;
} axis;

static double of_value(const axis *a, double v) {
    if (!a->log_scale) return v;
    return v > 0 ? log10(v) : a->low;
}

static double y_of(const axis *a, double v) {
    double part = (of_value(a, v) - a->low) / (a->high - a->low);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    return (double)TOP + (1 - part) * (double)(HEIGHT - TOP - BOTTOM);
}

/* The range of all lines: six powers of ten at most, or from 0 where that is near. */
static axis axis_of(const chart *c) {
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (size_t l = 0; l < c->n_lines; l++)
        for (size_t i = 0; i < c->n; i++) {
            const double v = c->lines[l].y[i];
            if (c->log_scale && !(v > 0)) continue;
            low = v < low ? v : low, high = v > high ? v : high;
        }
    if (!(high >= low)) low = high = 1;
    if (c->log_scale) {
        high = ceil(log10(high) + 1e-9), low = floor(log10(low));
        if (low < high - 6) low = high - 6;
        if (low >= high) low = high - 1;
    } else {
        low = low < 0.7 * high ? 0 : low - 0.1 * (high - low);
        high += 0.05 * (high - low);
        if (!(high > low)) high = low + 1;
    }
    return (axis){low, high, c->log_scale};
}

/* A step of 1, 2 or 5 times a power of ten, about a fifth of the range. */
static double tick_step(double range) {
    const double power = pow(10, floor(log10(range / 5))), n = range / 5 / power;
    return power * (n < 1.5 ? 1 : n < 3.5 ? 2 : n < 7.5 ? 5 : 10);
}

static void draw_tick(FILE *f, const axis *a, double at) {
    const double v = a->log_scale ? pow(10, at) : at + 0.0, y = y_of(a, v); // no -0
    fprintf(f,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" "
            "text-anchor=\"end\">%.3g</text>\n",
            LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, v);
}

static void draw_y_axis(FILE *f, const axis *a) {
    const double step = a->log_scale ? 1 : tick_step(a->high - a->low);
    for (double at = ceil(a->low / step - 1e-9) * step; at <= a->high + 1e-9 * step; at += step)
        draw_tick(f, a, at);
}

static double x_of(const chart *c, double x) {
    const double range = c->last > c->first ? c->last - c->first : 1;
    return (double)LEFT + (x - c->first) / range * (double)(WIDTH - LEFT - RIGHT);
}

static void draw_x_axis(FILE *f, const chart *c) {
    double step = tick_step(c->last > c->first ? c->last - c->first : 5);
    if (step < 1) step = 1;
    for (double x = ceil(c->first / step) * step; x <= c->last + 1e-9; x += step)
        fprintf(f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>\n", x_of(c, x),
                HEIGHT - BOTTOM + 18, x);
    fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + WIDTH - RIGHT) / 2,
            HEIGHT - 6, c->x_name);
    fprintf(f, "<text x=\"%d\" y=\"%d\">%s</text>\n", 4, 14, c->y_name);
}

/* ---- lines ---- */

static void draw_line(FILE *f, const chart *c, const axis *a, const chart_line *line) {
    const double step = c->n > 1 ? (c->last - c->first) / (double)(c->n - 1) : 0;
    fprintf(f, "<polyline class=\"%s\" points=\"", line->style);
    for (size_t i = 0; i < c->n; i++)
        fprintf(f, "%s%.1f,%.1f", i ? " " : "", x_of(c, c->first + (double)i * step), y_of(a, line->y[i]));
    fprintf(f, "\"/>\n");
    for (size_t i = 0; c->n <= 30 && i < c->n; i++)
        fprintf(f, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", line->style,
                x_of(c, c->first + (double)i * step), y_of(a, line->y[i]));
}

static void draw_key(FILE *f, size_t i, const char *style, const char *name) {
    const int x = WIDTH - RIGHT - 250 + (int)i * 125;
    fprintf(f, "<circle class=\"%s\" cx=\"%d\" cy=\"10\" r=\"4\"/><text x=\"%d\" y=\"14\">%s</text>\n",
            style, x, x + 9, name);
}

static void begin(FILE *f, const char *title, int height) {
    fprintf(f, "<svg role=\"img\" aria-label=\"%s\" viewBox=\"0 0 %d %d\"><title>%s</title>\n", title, WIDTH,
            height, title);
}

void chart_lines(FILE *f, const chart *c) {
    const axis a = axis_of(c);
    begin(f, c->title, HEIGHT);
    draw_y_axis(f, &a);
    draw_x_axis(f, c);
    for (size_t i = c->n_lines; i-- > 0;) draw_line(f, c, &a, &c->lines[i]);
    for (size_t i = 0; c->n_lines > 1 && i < c->n_lines; i++)
        draw_key(f, i, c->lines[i].style, c->lines[i].name);
    fprintf(f, "</svg>\n");
}

/* ---- fractions ---- */

enum { ROW = 34, NAMES = 150 };

static double fraction_x(double p) {
    return (double)NAMES + p * (double)(WIDTH - NAMES - 60);
}

static void draw_fraction(FILE *f, const char *style, double y, nut_fraction p) {
    fprintf(f,
            "<line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/><circle class=\"%s\" "
            "cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n",
            style, fraction_x(p.low), fraction_x(p.high), y, y, style, fraction_x(p.value), y);
}

static void draw_row(FILE *f, const chart_row *row, double y) {
    fprintf(f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", NAMES - 10, y + 4);
    chart_text(f, row->name, strlen(row->name));
    fprintf(f, "</text>\n");
    if (row->reference.n) draw_fraction(f, "reference", y + 6, row->reference);
    draw_fraction(f, "model", row->reference.n ? y - 6 : y, row->model);
    fprintf(f, "<text x=\"%d\" y=\"%.1f\">%.0f %%</text>\n", WIDTH - 48, y + 4, 100 * row->model.value);
}

void chart_fractions(FILE *f, const char *title, const chart_row *rows, size_t n) {
    const int height = TOP + (int)n * ROW + 30;
    begin(f, title, height);
    for (int p = 0; p <= 100; p += 25)
        fprintf(
            f,
            "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/><text x=\"%.1f\" y=\"%d\" "
            "text-anchor=\"middle\">%d %%</text>\n",
            fraction_x(p / 100.0), fraction_x(p / 100.0), TOP - 6, height - 24, fraction_x(p / 100.0),
            height - 8, p);
    for (size_t i = 0; i < n; i++) draw_row(f, &rows[i], (double)(TOP + (int)i * ROW + ROW / 2));
    if (n && rows[0].reference.n) draw_key(f, 0, "model", "model"), draw_key(f, 1, "reference", "reference");
    fprintf(f, "</svg>\n");
}
