// The colour theme. A classic script in the head: it runs before the page is painted, the modules do not.
'use strict';
{
  let theme = null;
  try { theme = JSON.parse(localStorage.getItem('nutshell-theme') ?? 'null'); } catch { /* a private window */ }
  document.documentElement.dataset.theme = theme ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
}
