import { expect, test } from 'vitest';
import { literalText } from '../../../src/conform/index.ts';

test('what is short stands in one line', () => {
  expect(literalText({ do: 'unmap', size: '4K', no: undefined, deep: [1, true, null] })).toBe(
    "{ do: 'unmap', size: '4K', deep: [1, true, null] }",
  );
});

test('what is long stands in a line for each member', () => {
  const long = 'x'.repeat(110);

  expect(literalText({ a: [long], b: 1 })).toBe(`{\n  a: [\n    '${long}',\n  ],\n  b: 1,\n}`);
});

test('names and text that need it are quoted and escaped', () => {
  expect(literalText({ 'a-b': "it's a \\ and\na line" })).toBe(
    String.raw`{ 'a-b': 'it\'s a \\ and\na line' }`,
  );
});

test('nothing is in an empty list or object', () => {
  expect(literalText([[], {}])).toBe('[[], {}]');
});
