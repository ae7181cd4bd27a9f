/** Put in by web/build.mjs, from package.json. */
declare const NUTSHELL_VERSION: string;
