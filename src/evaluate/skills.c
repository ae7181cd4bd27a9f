/* The skills: lists of pairs behind a sentence, and what can be counted out. */
#include "evaluate/skills.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

typedef struct pair {
    const char *asked, *answer;
} pair;

/* A skill whose questions are written out, or made by a function. */
typedef struct skill {
    const char *name;
    const char *before, *after; // of what is asked, in a sentence that the answer ends
    const pair *pairs;
    size_t n;
    int (*make)(size_t i, char *out, size_t cap); // an item as six lines; bytes as of snprintf
} skill;

static const pair capitals[] = {
    {"France", "Paris"},
    {"Germany", "Berlin"},
    {"Italy", "Rome"},
    {"Spain", "Madrid"},
    {"Portugal", "Lisbon"},
    {"England", "London"},
    {"Ireland", "Dublin"},
    {"Scotland", "Edinburgh"},
    {"Norway", "Oslo"},
    {"Sweden", "Stockholm"},
    {"Denmark", "Copenhagen"},
    {"Finland", "Helsinki"},
    {"Poland", "Warsaw"},
    {"Austria", "Vienna"},
    {"Hungary", "Budapest"},
    {"Greece", "Athens"},
    {"Turkey", "Ankara"},
    {"Russia", "Moscow"},
    {"Ukraine", "Kyiv"},
    {"Romania", "Bucharest"},
    {"Japan", "Tokyo"},
    {"China", "Beijing"},
    {"India", "New Delhi"},
    {"South Korea", "Seoul"},
    {"Thailand", "Bangkok"},
    {"Vietnam", "Hanoi"},
    {"Indonesia", "Jakarta"},
    {"Iran", "Tehran"},
    {"Iraq", "Baghdad"},
    {"Egypt", "Cairo"},
    {"Kenya", "Nairobi"},
    {"Nigeria", "Abuja"},
    {"Canada", "Ottawa"},
    {"Mexico", "Mexico City"},
    {"Cuba", "Havana"},
    {"Brazil", "Brasilia"},
    {"Argentina", "Buenos Aires"},
    {"Chile", "Santiago"},
    {"Peru", "Lima"},
    {"Australia", "Canberra"},
};

static const pair opposites[] = {
    {"hot", "cold"},        {"big", "small"},      {"early", "late"},      {"happy", "sad"},
    {"open", "closed"},     {"rich", "poor"},      {"strong", "weak"},     {"young", "old"},
    {"fast", "slow"},       {"high", "low"},       {"light", "dark"},      {"wet", "dry"},
    {"full", "empty"},      {"hard", "soft"},      {"left", "right"},      {"day", "night"},
    {"up", "down"},         {"inside", "outside"}, {"first", "last"},      {"good", "bad"},
    {"loud", "quiet"},      {"thick", "thin"},     {"clean", "dirty"},     {"safe", "dangerous"},
    {"sharp", "blunt"},     {"win", "lose"},       {"love", "hate"},       {"buy", "sell"},
    {"push", "pull"},       {"begin", "end"},      {"remember", "forget"}, {"increase", "decrease"},
    {"accept", "refuse"},   {"arrive", "leave"},   {"north", "south"},     {"wide", "narrow"},
    {"cheap", "expensive"}, {"true", "false"},     {"alive", "dead"},      {"same", "different"},
};

static const pair verbs[] = {
    {"go", "went"},     {"see", "saw"},       {"eat", "ate"},       {"take", "took"},    {"give", "gave"},
    {"come", "came"},   {"run", "ran"},       {"write", "wrote"},   {"speak", "spoke"},  {"break", "broke"},
    {"drive", "drove"}, {"fly", "flew"},      {"know", "knew"},     {"grow", "grew"},    {"draw", "drew"},
    {"begin", "began"}, {"sing", "sang"},     {"swim", "swam"},     {"drink", "drank"},  {"find", "found"},
    {"buy", "bought"},  {"bring", "brought"}, {"think", "thought"}, {"teach", "taught"}, {"catch", "caught"},
    {"keep", "kept"},   {"sleep", "slept"},   {"leave", "left"},    {"build", "built"},  {"send", "sent"},
    {"lose", "lost"},   {"make", "made"},     {"say", "said"},      {"tell", "told"},    {"sell", "sold"},
    {"stand", "stood"}, {"win", "won"},       {"hold", "held"},     {"fall", "fell"},    {"choose", "chose"},
};

static const pair words[] = {
    {"In French, the word for dog is", "chien"},       {"In French, the word for cat is", "chat"},
    {"In French, the word for house is", "maison"},    {"In French, the word for water is", "eau"},
    {"In French, the word for book is", "livre"},      {"In French, the word for red is", "rouge"},
    {"In French, the word for day is", "jour"},        {"In French, the word for friend is", "ami"},
    {"In French, the word for bread is", "pain"},      {"In French, the word for school is", "\303\251cole"},
    {"In Spanish, the word for dog is", "perro"},      {"In Spanish, the word for cat is", "gato"},
    {"In Spanish, the word for house is", "casa"},     {"In Spanish, the word for water is", "agua"},
    {"In Spanish, the word for book is", "libro"},     {"In Spanish, the word for red is", "rojo"},
    {"In Spanish, the word for day is", "d\303\255a"}, {"In Spanish, the word for friend is", "amigo"},
    {"In Spanish, the word for bread is", "pan"},      {"In Spanish, the word for school is", "escuela"},
    {"In German, the word for dog is", "Hund"},        {"In German, the word for cat is", "Katze"},
    {"In German, the word for house is", "Haus"},      {"In German, the word for water is", "Wasser"},
    {"In German, the word for book is", "Buch"},       {"In German, the word for red is", "rot"},
    {"In German, the word for day is", "Tag"},         {"In German, the word for friend is", "Freund"},
    {"In German, the word for bread is", "Brot"},      {"In German, the word for school is", "Schule"},
    {"In Italian, the word for dog is", "cane"},       {"In Italian, the word for cat is", "gatto"},
    {"In Italian, the word for house is", "casa"},     {"In Italian, the word for water is", "acqua"},
    {"In Italian, the word for book is", "libro"},     {"In Italian, the word for red is", "rosso"},
    {"In Italian, the word for day is", "giorno"},     {"In Italian, the word for friend is", "amico"},
    {"In Italian, the word for bread is", "pane"},     {"In Italian, the word for school is", "scuola"},
};

static const pair code[] = {
    {"# Python: how many items the list x has\nn =", "len(x)"},
    {"# Python: print the text hello\n", "print(\"hello\")"},
    {"# Python: for the numbers from 0 to 9\nfor i in", "range(10):"},
    {"# Python: open a file for reading\nf =", "open(\"a.txt\", \"r\")"},
    {"# Python: put 3 at the end of the list x\n", "x.append(3)"},
    {"# Python: the text s in upper case\ns =", "s.upper()"},
    {"# Python: the words of the text s\nwords =", "s.split()"},
    {"# Python: the square root of x\ny =", "math.sqrt(x)"},
    {"# Python: a text made of the number n\ns =", "str(n)"},
    {"# Python: an integer made of the text s\nn =", "int(s)"},
    {"# Python: the list x in rising order\ny =", "sorted(x)"},
    {"# Python: the sum of the list x\ntotal =", "sum(x)"},
    {"# Python: an empty dictionary\nd =", "{}"},
    {"# Python: use the module os\n", "import os"},
    {"# Python: where x is greater than 5\n", "if x > 5:"},
    {"# Python: define a function f of one argument\n", "def f(x):"},
    {"/* C: print a number */\n", "printf(\"%d\", n);"},
    {"/* C: the length of the text s */\nn =", "strlen(s);"},
    {"/* C: free the memory at p */\n", "free(p);"},
    {"/* C: memory for 10 integers */\nint *p =", "malloc(10 * sizeof(int));"},
    {"/* C: add one to i */\n", "i++;"},
    {"/* C: the beginning of the program */\n", "int main(void) {"},
    {"/* C: use the header of input and output */\n", "#include <stdio.h>"},
    {"/* C: for i from 0 to 9 */\n", "for (int i = 0; i < 10; i++) {"},
    {"// JavaScript: print x\n", "console.log(x);"},
    {"// JavaScript: how many items the array a has\nconst n =", "a.length;"},
    {"// JavaScript: put 3 at the end of the array a\n", "a.push(3);"},
    {"// JavaScript: the element whose id is box\nconst e =", "document.getElementById(\"box\");"},
    {"// JavaScript: an object made of the JSON text s\nconst o =", "JSON.parse(s);"},
    {"// JavaScript: a function of one argument\n", "function f(x) {"},
    {"<!-- HTML: a link -->\n", "<a href=\"page.html\">page</a>"},
    {"<!-- HTML: a picture -->\n", "<img src=\"picture.png\">"},
    {"<!-- HTML: a paragraph -->\n", "<p>Some text.</p>"},
    {"<!-- HTML: the title of the page -->\n", "<title>A page</title>"},
    {"-- SQL: all rows of the table people\n", "SELECT * FROM people;"},
    {"-- SQL: how many rows the table people has\n", "SELECT COUNT(*) FROM people;"},
    {"-- SQL: remove all rows of the table people\n", "DELETE FROM people;"},
    {"# shell: list the files of a folder\n", "ls"},
    {"# shell: make a new folder\n", "mkdir new"},
    {"# shell: remove a file\n", "rm a.txt"},
};

static const pair sense[] = {
    {"To cut bread you use a", "knife"},
    {"To see far away things you use a", "telescope"},
    {"To dry yourself after a bath you use a", "towel"},
    {"To open a locked door you need a", "key"},
    {"To write on paper you use a", "pen"},
    {"When it rains you carry an", "umbrella"},
    {"To eat soup you use a", "spoon"},
    {"To hit a nail you use a", "hammer"},
    {"To tell the time you look at a", "clock"},
    {"To sweep the floor you use a", "broom"},
    {"To wash your hands you use", "soap"},
    {"To brush your teeth you use a", "toothbrush"},
    {"To cross a river you walk over a", "bridge"},
    {"Books are kept in a", "library"},
    {"Planes land at an", "airport"},
    {"Sick people are cared for in a", "hospital"},
    {"Children learn to read in", "school"},
    {"Cows and pigs live on a", "farm"},
    {"Fish swim in the", "water"},
    {"Birds lay their eggs in a", "nest"},
    {"Bees make", "honey"},
    {"Cows give", "milk"},
    {"Bread is made of", "flour"},
    {"Wine is made of", "grapes"},
    {"Cheese is made of milk, and paper is made of", "wood"},
    {"Rings are often made of", "gold"},
    {"A young dog is called a", "puppy"},
    {"A young cat is called a", "kitten"},
    {"A person who bakes bread is a", "baker"},
    {"A person who flies planes is a", "pilot"},
    {"A person who repairs teeth is a", "dentist"},
    {"A person who puts out fires is a", "firefighter"},
    {"A person who grows food on fields is a", "farmer"},
    {"A person who paints pictures is an", "artist"},
    {"Ice melts when it gets", "warm"},
    {"At night you can see the moon and the", "stars"},
    {"After summer comes", "autumn"},
    {"The season in which it snows is", "winter"},
    {"The color of the sky on a clear day is", "blue"},
    {"The color of grass is", "green"},
};

/* ---- what is counted out ---- */

enum { MADE = 40 };

/* Four lines of numbers, the right one at `right`. */
static int number_lines(char *out, size_t cap, const char *question, int number, size_t right) {
    static const int beside[3] = {1, -1, 10};
    int v[4];
    for (size_t k = 0, other = 0; k < 4; k++) v[k] = k == right ? number : number + beside[other++];
    return snprintf(out, cap, "%s\n%d\n%d\n%d\n%d\n%d\n", question, (int)right, v[0], v[1], v[2], v[3]);
}

/* Sums, differences and products; examples stand in front, so that the form is known. */
static int make_arithmetic(size_t i, char *out, size_t cap) {
    const int kind = (int)(i % 3), a = 3 + (int)(i * 7 % 38), b = 2 + (int)(i * 5 % 17);
    const int x = kind == 1 ? a + b : kind == 2 ? 2 + a % 9 : a, y = kind == 2 ? 2 + b % 8 : b;
    char question[80];
    snprintf(question, sizeof question, "4 + 5 = 9, 20 - 8 = 12, 3 * 6 = 18, %d %c %d =", x, "+-*"[kind], y);
    return number_lines(out, cap, question, kind == 0 ? x + y : kind == 1 ? x - y : x * y, i % 4);
}

/* Numbers in equal steps. */
static int make_counting(size_t i, char *out, size_t cap) {
    const int first = 1 + (int)(i * 11 % 30), step = 1 + (int)(i % 10);
    char question[80];
    snprintf(question, sizeof question, "%d, %d, %d, %d, %d,", first, first + step, first + 2 * step,
             first + 3 * step, first + 4 * step);
    return number_lines(out, cap, question, first + 5 * step, i % 4);
}

/* A row of words, and its beginning again. */
static int make_copying(size_t i, char *out, size_t cap) {
    const char *w[5];
    for (size_t k = 0; k < 5; k++) w[k] = opposites[(i * 3 + k * (7 + 2 * (i % 4))) % MADE].asked;
    const size_t right = i % 4, asked = 2 + i % 3;
    char question[200];
    int n = snprintf(question, sizeof question, "%s %s %s %s %s;", w[0], w[1], w[2], w[3], w[4]);
    for (size_t k = 0; k < asked; k++) n += snprintf(question + n, sizeof question - (size_t)n, " %s", w[k]);
    const char *v[4];
    for (size_t k = 0, other = 0; k < 4; k++)
        v[k] = k == right ? w[asked] : w[other + (other >= asked)], other += k != right;
    return snprintf(out, cap, "%s\n%d\n%s\n%s\n%s\n%s\n", question, (int)right, v[0], v[1], v[2], v[3]);
}

/* ---- the table ---- */

#define PAIRS(list) list, sizeof list / sizeof *list, NULL
static const skill skills[] = {
    {"capitals", "The capital of ", " is", PAIRS(capitals)},
    {"everyday-sense", "", "", PAIRS(sense)},
    {"opposites", "The opposite of ", " is", PAIRS(opposites)},
    {"verb-forms", "Today I ", ". Yesterday I", PAIRS(verbs)},
    {"other-languages", "", "", PAIRS(words)},
    {"code", "", "", PAIRS(code)},
    {"arithmetic", "", "", NULL, MADE, make_arithmetic},
    {"counting", "", "", NULL, MADE, make_counting},
    {"copying", "", "", NULL, MADE, make_copying},
};
enum { N_SKILLS = sizeof skills / sizeof *skills };

const char *nut_task_skill(size_t i) {
    return i < N_SKILLS ? skills[i].name : NULL;
}

/* An answer of another question that is not the same text, the next from `from` on. */
static const char *other_answer(const skill *f, const char *right, size_t *from) {
    const char *answer;
    do answer = f->pairs[(*from)++ % f->n].answer;
    while (!strcmp(answer, right));
    return answer;
}

/* A question keeps to its line: a break in it is written as a blank. */
static int pair_item(const skill *f, size_t i, char *out, size_t cap) {
    const pair *p = &f->pairs[i];
    const size_t right = i % 4;
    const char *v[4];
    size_t from = i + 1;
    for (size_t k = 0; k < 4; k++) v[k] = k == right ? p->answer : other_answer(f, p->answer, &from);
    const int n = snprintf(out, cap, "%s%s%s\n%d\n%s\n%s\n%s\n%s\n", f->before, p->asked, f->after,
                           (int)right, v[0], v[1], v[2], v[3]);
    const size_t question = strlen(f->before) + strlen(p->asked) + strlen(f->after);
    for (size_t k = 0; out && k < question && k < cap; k++)
        if (out[k] == '\n') out[k] = ' ';
    return n;
}

static size_t write_items(const skill *f, char *out, size_t cap) {
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        char *to = out ? out + n : NULL;
        const size_t room = out ? cap - n : 0;
        n += (size_t)(f->make ? f->make(i, to, room) : pair_item(f, i, to, room));
    }
    return n;
}

char *skills_text(const char *name, size_t *n) {
    *n = 0;
    for (size_t i = 0; i < N_SKILLS; i++) {
        if (strcmp(skills[i].name, name) != 0) continue;
        *n = write_items(&skills[i], NULL, 0);
        char *text = mem_alloc(*n + 1);
        if (text) write_items(&skills[i], text, *n + 1);
        return text;
    }
    return NULL;
}
