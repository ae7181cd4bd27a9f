/**
 * Symbol.asyncDispose, or a symbol that nobody knows in browsers without `await using`.
 * @type {typeof Symbol.asyncDispose}
 */
export const asyncDispose = /** @type {any} */ (Symbol.asyncDispose ?? Symbol('asyncDispose'));
