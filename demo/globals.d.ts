/** What dist/nutshell.js defines in a page that has loaded it by a script tag. */
declare const Nutshell: typeof import('../dist/nutshell.js');

/** What a browser gives its extensions; which of the two it has tells Chromium from Firefox. */
declare const chrome: any;
declare const browser: any;
