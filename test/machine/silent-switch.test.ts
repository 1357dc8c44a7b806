/** A guest gives a requester another domain and forgets to invalidate the structure that says so. @module */
import { describe, expect, test } from 'vitest';
import { requesterId } from '../../src/iommu/index.ts';
import { Access, RamRegion, SparseRamBlock } from '../../src/memory/index.ts';
import { lookupRequest, spec } from '../../src/models/vtd/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { HIGH, ScenarioMachine } from '../scenarios/scenario-machine.ts';

const BRIDGE = requesterId(2, 0, 0);

/** A device is plugged onto the tables of one domain, and its context entry then names another. */
async function silentlySwitched(options: { readonly fromNothing?: boolean } = {}) {
  const machine = new ScenarioMachine();
  const { driver } = machine;
  const before = driver.createDomain({ levels: 4 });
  const after = driver.createDomain({ levels: 4 });
  await driver.attachDevice(BRIDGE, before);
  await driver.map(before, 0x400, 1, HIGH, Access.ReadWrite);
  await driver.map(after, 0x500, 2, HIGH + 0x10, Access.ReadWrite);
  const host = new RecordingHost({ strictness: 'vfio-user' });
  if (options.fromNothing === true) await driver.detachDevice(BRIDGE);
  await machine.machine.plug({ bus: machine.conventional, device: 1, name: 'first' }, host);
  lookupRequest(machine.iommu, BRIDGE, undefined, ({ structure, table, offset, words }) => {
    if (structure !== 'context entry') return;
    const entry = [...words];
    spec.writeField(entry, spec.CONTEXT_ENTRY.fields.P, 1);
    spec.writeField(entry, spec.CONTEXT_ENTRY.fields.AW, 2);
    spec.writeField(entry, spec.CONTEXT_ENTRY.fields.DID, after.id);
    spec.writeField(entry, spec.CONTEXT_ENTRY.fields.SSPTPTR, after.tables?.root ?? 0);
    driver.writeEntry(table, offset / 8, entry[0] ?? 0, entry[1] ?? 0);
    driver.writeEntry(table, offset / 8 + 1, entry[2] ?? 0, entry[3] ?? 0);
  });
  return { machine, driver, before, after, host };
}

describe('a requester whose context entry was changed without an invalidation', () => {
  test('keeps the mappings that it has until the structure is invalidated', async () => {
    const { driver, host } = await silentlySwitched();
    const between = host.held;

    await driver.invalidateContext('global');

    expect(between).toEqual(['400+1>100000 rw']);
    expect(host.held).toEqual(['500+1>100010 rw', '501+1>100011 rw']);
  });

  test('gets those of the other domain when what it has is invalidated', async () => {
    const { driver, before, host } = await silentlySwitched();

    await driver.invalidateIotlb({ domain: before.id });

    expect(host.held).toEqual(['500+1>100010 rw', '501+1>100011 rw']);
  });

  test.each([
    { name: 'it had another domain', fromNothing: false },
    { name: 'it had none', fromNothing: true },
  ])(
    'loses what is unmapped once its tables were walked for a device plugged meanwhile, when $name',
    async (options) => {
      const { machine, driver, after } = await silentlySwitched(options);
      const host = new RecordingHost({ strictness: 'vfio-user' });
      await machine.machine.plug({ bus: machine.conventional, device: 2, name: 'second' }, host);
      const replayed = host.held;

      await driver.unmap(after, 0x500, 1);

      expect(replayed).toEqual(['500+1>100010 rw', '501+1>100011 rw']);
      expect(host.held).toEqual(['501+1>100011 rw']);
    },
  );

  test('loses what is unmapped once its tables were walked because RAM changed', async () => {
    const { machine, driver, after, host } = await silentlySwitched();
    machine.guest.system.add(new RamRegion('DIMM', new SparseRamBlock(0x10)), 0x20_0000);
    const followed = host.held;

    await driver.unmap(after, 0x500, 1);

    expect(followed).toEqual(['500+1>100010 rw', '501+1>100011 rw']);
    expect(host.held).toEqual(['501+1>100011 rw']);
  });
});
