/** The scenario table on our models, and whether the table itself is sound. @module */
import { describe, expect, test } from 'vitest';
import { SCENARIOS, startModel } from '../../src/conform/index.ts';
import { differencesOn } from './differences-on.ts';

describe('our models', () => {
  test.each(SCENARIOS)('$id: $title', async (scenario) => {
    const { steps, found } = await differencesOn(scenario, startModel);

    expect(found).toEqual([]);
    expect(steps).toBe(scenario.steps.length);
  });
});

describe('the table', () => {
  test('has no identifier twice', () => {
    const ids = SCENARIOS.map(({ id }) => id);

    expect(new Set(ids).size).toBe(ids.length);
  });

  test.each(SCENARIOS)(
    '$id says what QEMU does and what it should do, if they differ',
    ({ steps, finding }) => {
      const departs = steps.some(({ qemu }) => qemu !== undefined);

      expect(departs).toBe(finding !== undefined);
    },
  );

  test.each(SCENARIOS)('$id expects something', ({ steps }) => {
    const expects = steps.some((step) => step.do === 'expect' || step.answer !== undefined);

    expect(expects).toBe(true);
  });

  test.each(SCENARIOS)('$id is data', (scenario) => {
    expect(JSON.parse(JSON.stringify(scenario))).toEqual(scenario);
  });
});
