/** What a plug says and does beyond what the scenario table looks at; docs/conformance.md has what QEMU does. @module */
import { describe, expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../src/vfio/index.ts';
import { DelayedHostIommu } from '../vfio/delayed-host.ts';
import { refusalOf } from '../vfio/world.ts';
import { RecordingHost } from './recording-host.ts';
import { HIGH, NIC, ScenarioMachine } from './scenario-machine.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

/** Rewrites the PASID-table entry of the device and tells the unit. */
async function turnTo(machine: ScenarioMachine, pgtt: number, domain: number): Promise<void> {
  machine.rewritePasidEntry(NIC, (words) => {
    const { PGTT, FSPM, FSPTPTR } = spec.PASID_TABLE_ENTRY.fields;
    spec.writeField(words, PGTT, pgtt);
    spec.writeField(words, FSPM, spec.FSPM_4_LEVEL);
    spec.writeField(words, FSPTPTR, 0x7_0000);
  });
  await machine.invalidatePasidCache(domain);
  await machine.driver.invalidateIotlb({ domain });
}

describe.each(STRICTNESSES)('a device is plugged onto 4,096 neighbouring pages (%s)', (strictness) => {
  test('R12: maps in ascending order, and nothing else', async () => {
    const machine = new ScenarioMachine();
    const domain = machine.nicDomain();
    const host = new RecordingHost({ strictness });
    await machine.driver.map(domain, 0x10_0000, 4096, HIGH, Access.ReadWrite, { leafPages: 1 });

    const { report } = await machine.machine.plug(machine.nicPlace, host);

    const expected = Array.from(
      { length: 4096 },
      (_, i) => `map ${(0x10_0000 + i).toString(16)}+1>${(HIGH + i).toString(16)} rw`,
    );
    expect(host.take()).toEqual(expected);
    expect(report.replayed).toBe(4096);
  });
});

describe('a device is plugged into a host that is slow', () => {
  test('R13: the plug waits for it, and the last of 10,000 mappings is there', async () => {
    const machine = new ScenarioMachine();
    const domain = machine.nicDomain();
    await machine.driver.map(domain, 0x10_0000, 10_000, HIGH, Access.ReadWrite, { leafPages: 1 });
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'when-told' });

    let plugged = false;
    const plug = machine.machine.plug(machine.nicPlace, host).then(() => (plugged = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = { plugged, held: inner.size };
    host.answer();
    await plug;

    expect(before).toEqual({ plugged: false, held: 0 });
    expect(inner.size).toBe(10_000);
    expect(inner.find(0x10_0000 + 9_999)).toMatchObject({ target: HIGH + 9_999 });
  });
});

describe.each(STRICTNESSES)('the guest has one mapping more than the host announced (%s)', (strictness) => {
  const LIMIT = 65_535;

  test('R18: the plug is refused with IOVA, limit and remedy, and nothing is left of it', async () => {
    const machine = new ScenarioMachine();
    const domain = machine.nicDomain();
    await machine.driver.map(domain, 0x10_0000, LIMIT + 1, HIGH, Access.ReadWrite, { leafPages: 1 });
    const host = new RecordingHost({ strictness, maxMappings: LIMIT });

    const { refusal, message } = await refusalOf(machine.machine.plug(machine.nicPlace, host));

    expect(refusal.cause).toBe('too-many-mappings');
    expect(refusal.mapping).toMatchObject({ iova: 0x10_0000 + LIMIT, pages: 1 });
    expect(message).toContain('0x10ffff000');
    expect(message).toContain('65535');
    expect(message).toContain('map larger pages');
    expect(host.refusals).toEqual([]);
    expect(host.size).toBe(0);
    expect(machine.express.functions).toEqual([]);
    expect(machine.iommu.requesterSpace(NIC).region.notifiers).toEqual([]);
  });
});

describe.each(STRICTNESSES)('a guest on first-stage tables, caching mode on (%s)', (strictness) => {
  const FIRST_STAGE = { SMTS: true, SSTS: true, FSTS: true, NEST: true, RPS: true };

  function firstStageMachine() {
    const machine = new ScenarioMachine({ mode: 'scalable', capability: FIRST_STAGE });
    return { machine, domain: machine.nicDomain(), host: new RecordingHost({ strictness }) };
  }

  test.each([
    { name: 'first-stage', pgtt: spec.PGTT_FIRST_STAGE },
    { name: 'nested', pgtt: spec.PGTT_NESTED },
  ])('R15: a plug onto $name tables is refused with the remedy', async ({ pgtt }) => {
    const { machine, domain, host } = firstStageMachine();
    await turnTo(machine, pgtt, domain.id);

    const { refusal } = await refusalOf(machine.machine.plug(machine.nicPlace, host));

    expect(refusal.cause).toBe('iommu-refused');
    expect(refusal.reason).toContain('first-stage tables');
    expect(refusal.reason).toContain('make the guest use second-stage tables');
    expect(host.take()).toEqual([]);
    expect(machine.machine.devices).toEqual([]);
    expect(machine.express.functions).toEqual([]);
  });

  test('R15: a guest that turns to them at run time has its device quarantined, and is told so', async () => {
    const { machine, domain, host } = firstStageMachine();
    await machine.driver.map(domain, 0x400, 3, HIGH, Access.ReadWrite);
    const { container } = await machine.machine.plug(machine.nicPlace, host);
    host.take();

    await turnTo(machine, spec.PGTT_FIRST_STAGE, domain.id);

    expect(container.state).toMatchObject({ kind: 'quarantined', cause: 'iommu-refused' });
    expect(host.take()).toEqual(['unmap 400+1', 'unmap 401+1', 'unmap 402+1']);
    expect(host.size).toBe(0);
    expect(machine.observed('quarantined')[0]?.message).toContain('make the guest use second-stage tables');
    expect(Number(machine.iommu.readRegister(spec.FSTS_REG, 4)) & spec.FSTS_PPF).toBe(spec.FSTS_PPF);
  });

  test('R15: back on second-stage tables it can be released', async () => {
    const { machine, domain, host } = firstStageMachine();
    await machine.driver.map(domain, 0x400, 3, HIGH, Access.ReadWrite);
    const { container } = await machine.machine.plug(machine.nicPlace, host);
    await turnTo(machine, spec.PGTT_FIRST_STAGE, domain.id);
    const refusedMeanwhile = await refusalOf(container.release());
    await turnTo(machine, spec.PGTT_SECOND_STAGE, domain.id);

    await container.release();

    expect(refusedMeanwhile.refusal.cause).toBe('iommu-refused');
    expect(container.state).toEqual({ kind: 'attached' });
    expect(host.held).toEqual(['400+1>100000 rw', '401+1>100001 rw', '402+1>100002 rw']);
  });
});
