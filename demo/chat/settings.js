// The settings dialog: fields, limits and defaults, system prompts with names, what is stored of them, facts about
// the loaded model.
import { $, announce, kept, make, page, plural, sizeText } from './page.js';

/**
 * One row per number: its group, its limits, and the default (null: the library's). Temperature and repeat
 * penalty are set for small models, which lose the subject or repeat themselves sooner than large ones.
 */
const SETTINGS = [
  { key: 'temperature', group: 'sampling', label: 'Temperature', min: 0, max: 5, step: 0.05, value: 0.3,
    hint: '0: always the likeliest token' },
  { key: 'maxTokens', group: 'sampling', label: 'Longest answer', min: 1, max: 1e6, step: 1, value: 512,
    hint: 'in tokens' },
  { key: 'topK', group: 'sampling', label: 'Top-k', min: 0, max: 1e6, step: 1, value: 40,
    hint: 'tokens to sample from; 0: all' },
  { key: 'topP', group: 'sampling', label: 'Top-p', min: 0, max: 1, step: 0.01, value: 0.95,
    hint: 'share of probability; 1: all' },
  { key: 'minP', group: 'sampling', label: 'Min-p', min: 0, max: 1, step: 0.01, value: 0.05,
    hint: 'share of the likeliest token; 0: all' },
  { key: 'repeatPenalty', group: 'sampling', label: 'Repeat penalty', min: 0.5, max: 5, step: 0.01, value: 1.1,
    hint: '1: off' },
  { key: 'seed', group: 'sampling', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: null,
    placeholder: 'random', hint: 'the same seed, the same text' },
  { key: 'threads', group: 'engine', label: 'Threads', min: 1, max: 64, step: 1, value: null,
    placeholder: 'automatic', hint: '' },
  { key: 'contextLength', group: 'engine', label: 'Context length', min: 16, max: 1e6, step: 1, value: null,
    placeholder: 'automatic', hint: 'tokens of the whole conversation' },
];

/** System prompts to choose from; the first is the default. Small models answer better with one. */
const PRESETS = {
  'Plain answers': 'Give clear, helpful answers in plain English.',
  'In brief': 'Answer in one or two short sentences.',
  Teacher: 'You are a patient teacher. Explain step by step, with an example.',
  Programmer: 'You are an expert programmer. Answer with short, working code in a code block and one sentence about it.',
  Editor: 'You improve texts. Return the corrected text only, in the language in which it was written.',
  None: '',
};
const SYSTEM = PRESETS['Plain answers'];

function makeField({ key, label, min, max, step, placeholder = '', hint }) {
  const input = make('input', { type: 'number', id: key, min, max, step, placeholder, inputMode: 'decimal' });
  input.autocomplete = 'off';
  const about = make('p', { id: `${key}-hint`, className: 'small' }, hint);
  input.setAttribute('aria-describedby', about.id);
  return make('div', {}, make('label', { htmlFor: key }, label), input, about);
}

/** Fills the fields with stored values or the defaults. */
export function fillSettings(values) {
  for (const { key, value } of SETTINGS) $(key).value = values?.[key] ?? (values && key in values ? '' : value ?? '');
  $('system').value = values?.system ?? SYSTEM;
  showPreset();
}

/** The numbers of a group that are set: { temperature: 0.6, … }. */
export function numbersOf(group) {
  const rows = SETTINGS.filter((row) => row.group === group && $(row.key).value !== '');
  return Object.fromEntries(rows.map(({ key }) => [key, Number($(key).value)]));
}

export function keepSettings() {
  if (!$('settings-form').checkValidity()) return;
  kept.set('settings', {
    system: $('system').value,
    ...Object.fromEntries(SETTINGS.map(({ key }) => [key, $(key).value === '' ? null : Number($(key).value)])),
  });
  showReload();
  showPreset();
}

/** Offers to load the model again when its engine settings have changed. */
export function showReload() {
  const differs = page.model && JSON.stringify(numbersOf('engine')) !== JSON.stringify(page.loadedWith);
  $('reload').hidden = !differs;
}

/** Whether all settings are valid; if not, shows the first that is not. */
export function settingsAreValid() {
  if ($('settings-form').checkValidity()) return true;
  if (!$('settings').open) $('settings').showModal();
  $('settings-form').reportValidity();
  return false;
}

// System prompts with names: those of PRESETS and the user's own.

/** @returns {Record<string, string>} */
const ownPresets = () => kept.get('presets') ?? {};
const presets = () => ({ ...PRESETS, ...ownPresets() });

/** The name of the system prompt in the field; '' if it has none. */
const presetName = () => Object.entries(presets()).find(([, text]) => text === $('system').value)?.[0] ?? '';

function showPreset() {
  const name = presetName();
  $('preset').replaceChildren(make('option', { value: '' }, 'Own words'),
    ...Object.keys(presets()).map((value) => make('option', { value }, value)));
  $('preset').value = name;
  $('delete-preset').hidden = !(name in ownPresets());
  $('keep-preset').hidden = name !== '' || $('system').value.trim() === '';
}

function usePreset() {
  const text = presets()[$('preset').value];
  if (text !== undefined) $('system').value = text;
  keepSettings();
}

/** Keeps the system prompt in the field under its first words. */
function keepPreset() {
  const words = $('system').value.trim().split(/\s+/).slice(0, 4).join(' ').slice(0, 40);
  let name = words;
  for (let n = 2; name in presets(); n++) name = `${words} (${n})`;
  kept.set('presets', { ...ownPresets(), [name]: $('system').value });
  showPreset();
  announce(`Kept as ${name}.`);
  $('preset').focus();
}

function deletePreset() {
  const { [$('preset').value]: _, ...others } = ownPresets();
  kept.set('presets', others);
  showPreset();
  $('preset').focus();
}

export function showFacts() {
  const info = page.model?.info;
  $('about').hidden = !info;
  if (!info) return;
  const { name, architecture, n_params } = info.model;
  const facts = {
    Name: name, File: info.fileName, Size: sizeText(info.fileBytes), Architecture: architecture,
    Parameters: `${(n_params / 1e6).toPrecision(3)} million`,
    Weights: `${sizeText(info.weightBytes)} in memory`, Session: `${sizeText(info.sessionBytes)} in memory`,
    Context: plural(info.contextLength, 'token'), Kernels: info.kernel, Threads: String(info.threads),
  };
  $('facts').replaceChildren(...Object.entries(facts).filter(([, text]) => text)
    .flatMap(([name, text]) => [make('dt', {}, name), make('dd', {}, text)]));
}


/** The system prompt for the next answer; '' for the model's own. */
export const systemPrompt = () => $('system').value.trim();

/** Makes the fields, fills them, and listens. `changed` is called after each valid change. */
export function startSettings(/** @type {() => void} */ changed) {
  for (const row of SETTINGS) $(row.group).append(makeField(row));
  fillSettings(kept.get('settings'));
  $('open-settings').onclick = () => { showReload(); $('settings').showModal(); };
  $('close-settings').onclick = () => $('settings').close();
  $('settings').onclick = (event) => { if (event.target === $('settings')) $('settings').close(); };
  $('settings-form').onsubmit = (event) => event.preventDefault();
  $('settings-form').oninput = () => { keepSettings(); changed(); };
  $('preset').onchange = usePreset;
  $('keep-preset').onclick = keepPreset;
  $('delete-preset').onclick = deletePreset;
  $('reset').onclick = () => {
    fillSettings(null);
    keepSettings();
    changed();
    announce('All settings are back at their defaults.');
  };
}
