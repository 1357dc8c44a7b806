/** The scenario table on our models, and whether the table itself is sound. @module */
import { describe, expect, test } from 'vitest';
import { modelStarter, SCENARIOS } from '../../src/conform/index.ts';
import { differencesOn } from './differences-on.ts';

describe.each(['type1', 'iommufd', 'vfio-user'] as const)(
  'our models, hosts as strict as %s',
  (strictness) => {
    test.each(SCENARIOS)('$id: $title', async (scenario) => {
      const { steps, found } = await differencesOn(scenario, modelStarter(strictness));

      expect(found).toEqual([]);
      expect(steps).toBe(scenario.steps.length);
    });
  },
);

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
