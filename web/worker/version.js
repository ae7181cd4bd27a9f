// What is known of the version of a file on a server, and whether two answers are of the same version. An
// address can lead to several servers, as those of content delivery networks do; each names the same bytes by
// an ETag of its own.

const YOUNG = 60_000; // milliseconds: a date that is younger may be that of the next version too (RFC 9110, section 8.8.2.2)

/**
 * @typedef {object} Version
 * @property {number} size  bytes; 0 if unknown
 * @property {string | null} etag
 * @property {string | null} [modified]  the header Last-Modified
 * @property {string | null} [from]  the server and path that the address led to; missing where that was not noted
 */

/** Without what follows the path: that may be a signature which differs each time. @param {string} url */
export function placeOf(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

/** The header Last-Modified where it tells versions apart. @param {string | null} header */
export const modifiedAt = (header) => (header && Date.parse(header) < Date.now() - YOUNG ? header : null);

/**
 * Compares what one address gave at two times.
 * @param {Version} known
 * @param {Version} answer
 * @returns {'same' | 'other' | 'unknown'} 'unknown': it led to two servers whose ETags differ, and no date tells more
 */
export function compareVersions(known, answer) {
  if (known.size > 0 && answer.size > 0 && known.size !== answer.size) return 'other';
  const tags = known.etag !== null && answer.etag !== null, dates = known.modified && answer.modified;
  if (tags && known.etag === answer.etag) return 'same';
  if (!known.from || known.from === answer.from) {
    return tags || (dates && known.modified !== answer.modified) ? 'other' : 'same';
  }
  if (dates) return known.modified === answer.modified ? 'same' : 'other';
  return tags ? 'unknown' : 'same';
}
