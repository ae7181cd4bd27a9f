// dist/nutshell-template.mjs: the interpreter of chat templates, a file of its own because it is nearly half of all the
// JavaScript, and pages that only continue texts never need it. The worker imports it for the first chat.
export { Template } from '@huggingface/jinja';
