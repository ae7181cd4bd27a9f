// For the test pages: what a check does in the page, so that the checks themselves read as a user's code.

/** The loaded model of the check that runs. */
window.model = null;

/** Loads with a record of the progress events. */
window.load = async (source, options = {}) => {
  const events = [];
  await window.model?.unload();
  window.model = null;
  window.model = await Nutshell.load(source, { onProgress: (event) => events.push(event), ...options });
  return { info: window.model.info, events };
};

/** The error's code, or what came instead of an error. */
window.codeOf = async (work) => {
  try {
    const value = await work();
    return { none: String(value) };
  } catch (error) {
    const isOurs = error instanceof Nutshell.NutshellError;
    return { code: isOurs ? error.code : error.name, message: error.message, isOurs };
  }
};

window.collect = async (generation) => {
  const pieces = [];
  for await (const piece of generation) pieces.push(piece);
  return { text: pieces.join(''), pieces: pieces.length, stats: generation.stats };
};

window.wait = (ms) => new Promise((done) => setTimeout(done, ms));
