/** The global that dist/nutshell.js defines. */
declare const Nutshell: typeof import('../dist/nutshell.js');

/** The extension APIs of Chromium and of Firefox. */
declare const chrome: any;
declare const browser: any;
