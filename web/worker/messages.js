// Checks the messages of a chat.
import { badArgument } from '../shared/errors.js';

/** @param {any} part  of a content in several parts, such as { type: 'text', text: 'Hi' } */
const isPart = (part) => typeof part?.type === 'string' && (part.type !== 'text' || typeof part.text === 'string');

/** @param {unknown} content  null or missing, where something else stands beside it */
const isContent = (content) => typeof (content ?? '') === 'string' || (Array.isArray(content) && content.every(isPart));

/** What messages say is the template's business: contents reach it as they are. @param {unknown} messages
 *  @returns {import('../nutshell.d.ts').ChatMessage[]} */
export function checkMessages(messages) {
  const expects = 'an array of at least one { role, content }';
  if (!Array.isArray(messages) || messages.length === 0) throw badArgument('messages', expects, messages);
  for (const [i, message] of messages.entries()) {
    if (typeof message?.role !== 'string' || !isContent(message.content)) {
      throw badArgument(`messages[${i}]`, '{ role, content } with a text, an array of { type, text }, or null',
        message);
    }
  }
  return messages;
}
