// For the test pages: functions that checks call in the page, so that the checks read like a user's code.

/** The model of the running check. */
window.model = null;

/** Loads a model and records the progress events. */
window.load = async (source, options = {}) => {
  const events = [];
  await window.model?.unload();
  window.model = null;
  window.model = await Nutshell.load(source, { onProgress: (event) => events.push(event), ...options });
  return { info: window.model.info, events };
};

/** The code of the error, or the result if there was none. */
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
  const texts = [];
  for await (const text of generation) texts.push(text);
  return { text: texts.join(''), texts: texts.length, stats: generation.stats };
};

window.wait = (ms) => new Promise((done) => setTimeout(done, ms));

/** The result of a request to IndexedDB. */
window.resultOf = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** Changes the library's database directly. */
window.withDatabase = async (work) => {
  const database = await resultOf(indexedDB.open('nutshell'));
  try {
    return await work(database);
  } finally {
    database.close();
  }
};

/** What is noted of races of kernels, after it was changed to `note` (null: none) where that is given. */
window.raceNote = (note) => withDatabase(async (database) => {
  const notes = () => database.transaction('notes', 'readwrite').objectStore('notes');
  const key = Nutshell.version + navigator.userAgent;
  if (note !== undefined) await resultOf(note === null ? notes().delete(key) : notes().put(note, key));
  return resultOf(notes().get(key));
});

/** Number of chunks in the database, those without a model too. */
window.countChunks = () => withDatabase((database) => resultOf(database.transaction('chunks').objectStore('chunks').count()));

/** Changes the manifest of the model of that name. */
window.changeManifest = (name, changes) => withDatabase(async (database) => {
  const models = () => database.transaction('models', 'readwrite').objectStore('models');
  const manifest = (await resultOf(models().getAll())).find((one) => one.name === name);
  await resultOf(models().put({ ...manifest, ...changes }));
});

/** A second copy of the library whose workers run in broken surroundings (see PRELUDES in server.mjs). */
window.variant = async (name) => {
  const usual = window.Nutshell;
  const script = document.createElement('script');
  script.src = `/variant/${name}/nutshell.js`;
  await new Promise((loaded, failed) => {
    script.onload = loaded;
    script.onerror = failed;
    document.head.append(script);
  });
  const broken = window.Nutshell;
  window.Nutshell = usual;
  return broken;
};
