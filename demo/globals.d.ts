/** What dist/nutshell.js defines in a page that has loaded it by a script tag. */
declare const Nutshell: typeof import('../dist/nutshell.js');
