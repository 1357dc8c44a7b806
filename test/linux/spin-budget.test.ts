import { describe, expect, test } from 'vitest';
import { SpinBudget } from '../../src/linux/spin-budget.ts';

const TRIAL = 32;
const ROUND = 18 * TRIAL;

/** Waits `count` times, as long as `wait` says for looking and for sleeping, in milliseconds; how often it looked. */
function looked(budget: SpinBudget, count: number, wait: (looks: boolean) => number): number {
  let now = 1000;
  let looks = 0;
  for (let i = 0; i < count; i++) {
    budget.waits(now);
    if (budget.current > 0) looks++;
    now += wait(budget.current > 0);
    budget.arrived(now);
  }
  return looks;
}

describe('the budget for looking before sleeping', () => {
  test('is nothing at first', () => {
    expect(new SpinBudget(50).current).toBe(0);
  });

  test('is all of it where looking shortens the waits, but for the trials of sleeping', () => {
    const looks = looked(new SpinBudget(50), 1 + 10 * ROUND, (looking) => (looking ? 0.02 : 0.065));

    expect(looks).toBe(10 * 17 * TRIAL);
  });

  test('is nothing where sleeping is as good, but for the trials of looking', () => {
    const budget = new SpinBudget(50);

    const looks = looked(budget, 1 + 10 * ROUND, (looking) => (looking ? 0.059 : 0.065));
    const worse = looked(new SpinBudget(50), 1 + 10 * ROUND, (looking) => (looking ? 0.06 : 0.015));

    expect([looks / TRIAL, worse / TRIAL]).toEqual([10, 10]);
  });

  test('is nothing after a silence, until messages follow each other again', () => {
    const budget = new SpinBudget(50);
    looked(budget, 1 + 2 * TRIAL, (looking) => (looking ? 0.02 : 0.065));
    const before = budget.current;

    looked(budget, 1, () => 10);
    const afterSilence = budget.current;
    looked(budget, 1, () => 0.03);

    expect([before, afterSilence, budget.current]).toEqual([0.05, 0, 0.05]);
  });

  test('is nothing while messages are far apart', () => {
    expect(looked(new SpinBudget(50), 1000, () => 1)).toBe(0);
  });

  test('is nothing when nothing is allowed', () => {
    expect(looked(new SpinBudget(0), 1000, () => 0.01)).toBe(0);
  });
});
