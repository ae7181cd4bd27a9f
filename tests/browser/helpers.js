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

/** What a check does to the library's database by hand. */
window.withDatabase = async (work) => {
  const database = await resultOf(indexedDB.open('nutshell'));
  try {
    return await work(database);
  } finally {
    database.close();
  }
};

/** How many chunks are in the database, of models or of none. */
window.countChunks = () => withDatabase((database) => resultOf(database.transaction('chunks').objectStore('chunks').count()));

/** Changes the manifest of the model of that name. */
window.changeManifest = (name, changes) => withDatabase(async (database) => {
  const models = () => database.transaction('models', 'readwrite').objectStore('models');
  const manifest = (await resultOf(models().getAll())).find((one) => one.name === name);
  await resultOf(models().put({ ...manifest, ...changes }));
});

/** The library once more, with what is broken around its workers (see PRELUDES in server.mjs). */
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
