// Conversations in IndexedDB. Where the browser gives no database (private windows), they last as long as the
// page: `lasting` says so.
import { openDB } from './vendor.mjs';

/** @typedef {import('./conversation.js').Stored} Stored */

const DATABASE = 'nutshell-chats', TABLE = 'conversations';

/** @type {Map<string, Stored>} */
const memory = new Map();
let lasting = true;

const database = openDB(DATABASE, 1, {
  upgrade(db) { db.createObjectStore(TABLE, { keyPath: 'id' }); },
}).catch(() => {
  lasting = false;
  return null;
});

/** Whether what is stored is there at the next visit. */
export async function isLasting() {
  await database;
  return lasting;
}

/** All conversations, the last changed first. @returns {Promise<Stored[]>} */
export async function list() {
  const db = await database;
  const all = db ? await db.getAll(TABLE) : [...memory.values()];
  return all.sort((a, b) => b.changed - a.changed);
}

/** Stores a conversation. Where another tab has changed it since it was read, it is stored as a copy, under another id:
 *  neither is lost. @param {import('./conversation.js').Conversation} conversation */
export async function save(conversation) {
  const db = await database;
  conversation.changed = Date.now();
  if (!db) return void memory.set(conversation.id, { ...conversation.toJSON(), revision: ++conversation.revision });
  const change = db.transaction(TABLE, 'readwrite');
  const there = await change.store.get(conversation.id);
  if (there && there.revision !== conversation.revision) {
    conversation.id = crypto.randomUUID();
    conversation.title += ' (copy)';
    conversation.revision = 0;
  }
  const stored = { ...conversation.toJSON(), revision: conversation.revision + 1 };
  change.store.put(stored);
  await change.done;
  conversation.revision = stored.revision;
}

export async function remove(/** @type {string} */ id) {
  const db = await database;
  if (db) await db.delete(TABLE, id);
  else memory.delete(id);
}
