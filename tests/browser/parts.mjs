// Splits a model into several files with the same bytes as llama.cpp's gguf-split (tests/peers/split-test.mjs compares): all
// metadata in the first, the tensors in their order in all, and three keys that make them splits of one model.
import { Reader } from './models.mjs';

const UINT16 = 2, INT32 = 5;
const ALIGNMENT = 32;

/** A number of `size` bytes. @param {number} value @param {number} size @returns {Buffer} */
function number(value, size) {
  const bytes = Buffer.alloc(size);
  bytes.writeUIntLE(value, 0, Math.min(size, 6));
  return bytes;
}

const text = (s) => Buffer.concat([number(s.length, 8), Buffer.from(s)]);
const entry = (key, type, value, size) => Buffer.concat([text(key), number(type, 4), number(value, size)]);
const padding = (n) => Buffer.alloc((ALIGNMENT - (n % ALIGNMENT)) % ALIGNMENT);

/** A model's header: its metadata as bytes, and its tensors with their data. @param {Buffer} model */
function takeApart(model) {
  const reader = new Reader(model);
  const tensorCount = Number(model.readBigUInt64LE(8)), entryCount = Number(model.readBigUInt64LE(16));
  for (let i = 0; i < entryCount; i++) {
    reader.string();
    reader.skipValue(reader.u32());
  }
  const metadata = model.subarray(24, reader.at);
  const tensors = Array.from({ length: tensorCount }, () => {
    const from = reader.at;
    reader.string();
    const dimensions = reader.u32();
    reader.at += 8 * dimensions + 4; // shape, type
    const info = model.subarray(from, reader.at);
    return { info, offset: reader.u64() };
  });
  const data = reader.at + padding(reader.at).length;
  const starts = [...tensors.map(({ offset }) => offset), model.length - data].sort((a, b) => a - b);
  return { entryCount, metadata, tensors: tensors.map(({ info, offset }) => {
    const end = starts.find((start) => start > offset) ?? offset;
    return { info, data: model.subarray(data + offset, data + end) };
  }) };
}

/** One file. */
function write(entryCount, metadata, tensors) {
  let offset = 0;
  const infos = tensors.map(({ info, data }) => {
    const bytes = Buffer.concat([info, number(offset, 8)]);
    offset += data.length + padding(data.length).length;
    return bytes;
  });
  const header = Buffer.concat([Buffer.from('GGUF'), number(3, 4), number(tensors.length, 8), number(entryCount, 8), metadata,
    ...infos]);
  return Buffer.concat([header, padding(header.length), ...tensors.flatMap(({ data }) => [data, padding(data.length)])]);
}

/**
 * The files of a model with at most `maxTensors` tensors each; with `emptyFirst` the first has only metadata.
 * @param {Buffer} model without general.alignment @param {{ maxTensors: number, emptyFirst?: boolean }} options
 * @returns {Buffer[]}
 */
export function inParts(model, { maxTensors, emptyFirst = false }) {
  const { entryCount, metadata, tensors } = takeApart(model);
  const groups = emptyFirst ? [[]] : [];
  for (let i = 0; i < tensors.length; i += maxTensors) groups.push(tensors.slice(i, i + maxTensors));
  return groups.map((group, i) => {
    const keys = Buffer.concat([entry('split.no', UINT16, i, 2), entry('split.tensors.count', INT32, tensors.length, 4),
      entry('split.count', UINT16, groups.length, 2)]);
    return i === 0 ? write(entryCount + 3, Buffer.concat([metadata, keys]), group) : write(3, keys, group);
  });
}

/** The name of file i (from 0) of n. @param {string} name @param {number} i @param {number} n */
export const partName = (name, i, n) =>
  `${name}-${String(i + 1).padStart(5, '0')}-of-${String(n).padStart(5, '0')}.gguf`;
