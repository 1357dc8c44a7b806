/**
 * The scenario table on a real QEMU. Where a scenario notes that QEMU departs from the specification, both are asserted:
 * that it does, and that it does so exactly as noted, so that a QEMU that is mended is noticed.
 *
 * @module
 */
import { beforeAll, expect, test } from 'vitest';
import {
  differences,
  qemuStarter,
  runScenario,
  type Scenario,
  SCENARIOS,
  type StartDriver,
  type Yardstick,
} from '../../src/conform/index.ts';
import { probeQemu, type QemuBuild } from '../../src/qemu/index.ts';
import { describeQemu, QEMU } from './harness/find-qemu.ts';

let start: StartDriver;

beforeAll(() => {
  if (QEMU !== '') start = qemuStarter(probeQemu(QEMU) as QemuBuild);
});

async function onQemu(scenario: Scenario) {
  const driver = await start(scenario);
  try {
    const seen = await runScenario(scenario, driver);
    return (yardstick: Yardstick) => differences(scenario, seen, driver, yardstick);
  } finally {
    await driver.close();
  }
}

const AS_SPECIFIED = SCENARIOS.filter(({ finding }) => finding === undefined);
const DEPARTING = SCENARIOS.filter(({ finding }) => finding !== undefined);

describeQemu('QEMU does as specified', () => {
  test.each(AS_SPECIFIED)('$id: $title', async (scenario) => {
    const held = await onQemu(scenario);

    expect(held('specification')).toEqual([]);
  });
});

describeQemu('QEMU departs from the specification, as noted', () => {
  test.each(DEPARTING)('$finding.id $id: $title', async (scenario) => {
    const held = await onQemu(scenario);

    expect(held('specification')).not.toEqual([]);
    expect(held('departures')).toEqual([]);
  });
});
