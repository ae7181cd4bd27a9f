// Thresholds for a cascade, learned from examples (FrugalGPT, arXiv 2305.05176, section 3: the reward is to be the largest for
// a mean cost, or here also the cost the least for a reward). All combinations of thresholds are tried.
import { badArgument } from '../shared/errors.js';
import { checkOptions } from '../shared/options.js';

/** @typedef {import('../nutshell-dynamic.d.ts').Example} Example */

const MOST_TRIES = 4096; // combinations of thresholds

/** @type {Record<string, import('../shared/options.js').Rule>} */
const LEARN = {
  reward: { expects: 'a number', test: (x) => typeof x === 'number' && x === x },
  cost: { expects: 'a number', test: (x) => typeof x === 'number' && x === x },
};

/** @param {unknown} list @param {number} n @returns {list is number[]} */
const areNumbers = (list, n) => Array.isArray(list) && list.length === n && list.every((x) => typeof x === 'number' && x === x);

/** @param {unknown} examples @returns {Example[]} */
function checked(examples) {
  const expects = 'a list of { scores, rewards, costs }: a score for each model but the last, a reward and a cost for each';
  if (!Array.isArray(examples) || !examples.length) throw badArgument('examples', expects, examples);
  const n = examples[0]?.rewards?.length;
  for (const [i, one] of examples.entries()) {
    if (!(n >= 2 && areNumbers(one?.rewards, n) && areNumbers(one.costs, n) && areNumbers(one.scores, n - 1))) {
      throw badArgument(`examples[${i}]`, expects, one);
    }
  }
  return examples;
}

/** Where a threshold can lie so that it tells examples apart: between two scores, below all and above all.
 *  @param {number[]} scores @param {number} most */
function candidatesOf(scores, most) {
  const sorted = [...new Set(scores)].sort((a, b) => a - b);
  const all = [-Infinity, ...sorted.slice(1).map((score, i) => (score + sorted[i]) / 2), Infinity];
  if (all.length <= most) return all;
  return Array.from({ length: most }, (_, i) => all[Math.round(i * (all.length - 1) / (most - 1))]);
}

/** What becomes of the examples. @param {Example[]} examples @param {number[]} thresholds */
function outcome(examples, thresholds) {
  const shares = Array(thresholds.length + 1).fill(0);
  let reward = 0, cost = 0;
  for (const { scores, rewards, costs } of examples) {
    let i = 0;
    for (cost += costs[0]; i < thresholds.length && !(scores[i] >= thresholds[i]); cost += costs[i]) i++;
    reward += rewards[i];
    shares[i]++;
  }
  const n = examples.length;
  return { thresholds, reward: reward / n, cost: cost / n, shares: shares.map((share) => share / n) };
}

/** All ways to take one of each list. @param {number[][]} lists @returns {Generator<number[], void>} */
function* combinations([list, ...others]) {
  if (!list) return yield [];
  for (const rest of combinations(others)) for (const one of list) yield [one, ...rest];
}

/** @type {typeof import('../nutshell-dynamic.d.ts').learnThreshold} */
export function learnThreshold(examples, options) {
  const { reward: least, cost: most } = checkOptions(LEARN, options);
  const list = checked(examples), n = list[0].scores.length;
  const each = Math.max(3, Math.floor(MOST_TRIES ** (1 / n)));
  let best = null;
  for (const thresholds of combinations(list[0].scores.map((_, i) => candidatesOf(list.map(({ scores }) => scores[i]), each)))) {
    const found = outcome(list, thresholds);
    if ((most !== undefined && found.cost > most) || (least !== undefined && found.reward < least)) continue;
    // With a reward to reach the cost decides first, else the reward; the other one breaks ties.
    const gains = best && (least === undefined ? [found.reward - best.reward, best.cost - found.cost]
      : [best.cost - found.cost, found.reward - best.reward]);
    if (!gains || gains[0] > 0 || (gains[0] === 0 && gains[1] > 0)) best = found;
  }
  if (best) return best;
  throw badArgument('options', 'a cost and a reward that some thresholds reach on the examples', options);
}
