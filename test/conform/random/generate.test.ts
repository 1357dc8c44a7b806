import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { randomSteps, type ScenarioModel, type StepKind, validOf } from '../../../src/conform/index.ts';

const MODELS: readonly ScenarioModel[] = ['vtd', 'amdvi', 'virtio-iommu'];

describe('random steps', () => {
  test.each(MODELS)('of %s are the same for the same seed', (model) => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        expect(randomSteps(seed, { model, steps: 30 })).toEqual(randomSteps(seed, { model, steps: 30 }));
      }),
    );
  });

  test.each(MODELS)('of %s are as many as were asked for, and can be taken', (model) => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const steps = randomSteps(seed, { model, steps: 60 });

        expect(steps).toHaveLength(60);
        expect(validOf({ model }, steps)).toEqual(steps);
      }),
    );
  });

  test('leave out what they shall', () => {
    const without = new Set<StepKind>(['translation', 'reset', 'silent-move', 'entry']);

    const steps = randomSteps(7, { model: 'vtd', steps: 500, without });

    expect(steps.map((step) => step.do)).not.toContain('translation');
    expect(steps.map((step) => step.do)).not.toContain('reset');
    expect(steps.map((step) => step.do)).not.toContain('entry');
    expect(steps.filter((step) => 'tell' in step)).toEqual([]);
  });

  test('stay away from the interrupt range when they shall', () => {
    const steps = randomSteps(7, { model: 'vtd', steps: 500, aroundInterrupts: false });

    expect(steps.filter((step) => 'iova' in step && BigInt(step.iova) > 0x100_0000n)).toEqual([]);
  });
});
