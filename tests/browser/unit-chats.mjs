// The chat page's own parts that need no browser: a conversation as a tree, its import, reasoning apart from an answer.
import { Conversation, FORMAT, importConversation, textFor } from '../../demo/chat/conversation.js';
import { check, ensure, equal, failure } from './harness.mjs';

const contents = (conversation) => conversation.path().map(({ content }) => content);

/** A question with two answers, and another version of the question with one. */
function branched() {
  const conversation = new Conversation();
  const first = conversation.add(null, { role: 'user', content: 'first\nsecond line' });
  const old = conversation.add(first, { role: 'assistant', content: 'old answer' });
  const better = conversation.add(first, { role: 'assistant', content: 'better answer' });
  const edited = conversation.add(null, { role: 'user', content: 'edited' });
  const last = conversation.add(edited, { role: 'assistant', content: 'its answer', by: 'M' });
  return { conversation, first, old, better, edited, last };
}

export async function checkChats() {
  await check('a conversation: versions of questions and answers are kept, one of each is shown', () => {
    const { conversation, first, old, better, edited } = branched();
    equal(contents(conversation), ['edited', 'its answer']);
    equal(conversation.siblings(edited).map(({ content }) => content), ['first\nsecond line', 'edited']);
    conversation.choose(first);
    equal(contents(conversation), ['first\nsecond line', 'better answer']);
    conversation.choose(old);
    equal(contents(conversation), ['first\nsecond line', 'old answer']);
    equal(conversation.pathTo(better), [first, better]);
    equal(conversation.title, 'first');
  });
  await check('a conversation: a message that is taken away gives way to the version before', () => {
    const { conversation, last, edited } = branched();
    conversation.remove(last);
    conversation.remove(edited);
    equal(contents(conversation), ['first\nsecond line', 'better answer']);
    const other = new Conversation();
    other.remove(other.add(null, { role: 'user', content: 'a' }));
    equal([other.empty, other.title, contents(other)], [true, '', []]);
  });
  await check('a conversation: exported and imported it is the same, with an id of its own', () => {
    const { conversation } = branched();
    const read = importConversation(JSON.stringify(conversation));
    const { id, ...rest } = conversation.toJSON(), { id: other, ...again } = read.toJSON();
    equal(again, rest);
    ensure(id !== other, 'the ids are equal');
  });
  await check('a conversation as Markdown', () => equal(branched().conversation.toMarkdown(),
    '# first\n\n## You\n\nedited\n\n## M\n\nits answer\n'));
  await check('a conversation: what cannot be imported is refused in words', async () => {
    const message = (id, parent, more = {}) => ({ id, parent, role: 'user', content: '', ...more });
    const whole = (messages) => JSON.stringify({ format: FORMAT, messages });
    for (const [text, words] of /** @type {[string, RegExp][]} */ ([
      ['{"a":', /not JSON/], ['[]', /not a conversation/], ['null', /not a conversation/],
      ['{"format":"other"}', /not a conversation/],
      [`{"format":"${FORMAT}"}`, /damaged/], [whole([message(1, 0, { role: 'system' })]), /damaged/],
      [whole([message(1, 0, { content: 5 })]), /damaged/], [whole([message(1, 1)]), /parent/],
      [whole([message(1, 2), message(2, 1)]), /parent/], [whole([message(1, 0), message(1, 0)]), /parent/],
      [whole([message(2, 1)]), /parent/], [whole([message(1, 0, { files: [{ name: 'a' }] })]), /damaged/],
    ])) {
      const error = await failure(() => importConversation(text));
      ensure(words.test(error.message), `${text}: ${error.message}`);
    }
  });
  await check('attached files come before the message, in fences that they do not contain', () => {
    const files = [{ name: 'a.md', text: '```\nx\n```\n' }];
    equal(textFor({ content: 'Why?', files }), 'a.md:\n````\n```\nx\n```\n````\n\nWhy?');
    equal(textFor({ content: 'Why?' }), 'Why?');
  });
}
