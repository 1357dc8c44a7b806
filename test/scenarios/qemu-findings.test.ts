/** What QEMU 11.1.3 was seen to do when tables change, as scenarios: docs/qemu.md has the table. @module */
import { describe, expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import type { HostStrictness } from '../../src/vfio/index.ts';
import { RecordingHost } from './recording-host.ts';
import { ALL_RAM, HIGH, type Mode, ScenarioMachine } from './scenario-machine.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];
const EVERYWHERE = (['legacy', 'scalable'] as const).flatMap((mode) =>
  STRICTNESSES.map((strictness) => ({ mode, strictness })),
);

const MIB2 = 0x200;
const GIB1 = 0x4_0000;

/** A machine with a domain for the device, and a host to plug it into. */
function arranged(mode: Mode, strictness: HostStrictness) {
  const machine = new ScenarioMachine({ mode });
  return { machine, domain: machine.nicDomain(), host: new RecordingHost({ strictness }) };
}

describe.each(EVERYWHERE)('one 2 MiB mapping, and translation is turned off ($mode, $strictness)', (at) => {
  /** The mapping lies where the device is to see RAM directly afterwards. */
  async function plugged() {
    const { machine, domain, host } = arranged(at.mode, at.strictness);
    await machine.driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
    const device = await machine.machine.plug(machine.nicPlace, host);
    host.take();
    return { machine, host, device };
  }

  test('R1: it goes by one exact unmap, and guest RAM takes its place', async () => {
    const { machine, host } = await plugged();

    await machine.driver.setTranslation(false);

    expect(host.take()).toEqual(['unmap 400+200', ...ALL_RAM.map((ram) => `map ${ram}`)]);
    expect(host.held).toEqual(ALL_RAM);
  });

  test('R2: a host that takes exact unmaps only refuses nothing, and the device keeps its RAM', async () => {
    const { machine, host, device } = await plugged();

    await machine.driver.setTranslation(false);
    await device.container.barrier();

    expect(host.refusals).toEqual([]);
    expect(device.container.state).toEqual({ kind: 'attached' });
    expect(host.translate(0x40_0000n)?.gpa).toBe(0x40_0000n);
  });

  test('R1: turned on again, RAM goes section by section and the mapping comes back', async () => {
    const { machine, host } = await plugged();
    await machine.driver.setTranslation(false);
    host.take();

    await machine.driver.setTranslation(true);

    expect(host.take()).toEqual(['unmap 100000+80000', 'unmap 0+80000', 'map 400+200>100400 rw']);
    expect(host.held).toEqual(['400+200>100400 rw']);
  });
});

describe.each(EVERYWHERE)('a 2 MiB leaf becomes a table with one 4 KiB page ($mode, $strictness)', (at) => {
  /** The tables are rewritten when this returns; the unit has not been told. */
  async function rewritten() {
    const { machine, domain, host } = arranged(at.mode, at.strictness);
    const { driver } = machine;
    await driver.map(domain, 0x400, MIB2, HIGH + 0x400, Access.ReadWrite, { leafPages: MIB2 });
    await machine.machine.plug(machine.nicPlace, host);
    host.take();
    const table = driver.allocatePage();
    driver.writeEntry(table, 5, ((HIGH + 0x9) << 12) | Access.ReadWrite, (HIGH + 0x9) >>> 20);
    const middle = domain.tables?.tableAt(0x400, 2) ?? Number.NaN;
    driver.writeEntry(middle, 2, (table << 12) | Access.ReadWrite, table >>> 20);
    return { driver, domain, host };
  }

  test('R3: invalidating that page takes all 511 others away', async () => {
    const { driver, domain, host } = await rewritten();

    await driver.invalidateIotlb({ domain: domain.id, iova: 0x405, am: 0 });

    expect(host.take()).toEqual(['unmap 400+200', 'map 405+1>100009 rw']);
    expect(host.held).toEqual(['405+1>100009 rw']);
  });

  test('R3: a global invalidation after it finds nothing left to do', async () => {
    const { driver, domain, host } = await rewritten();
    await driver.invalidateIotlb({ domain: domain.id, iova: 0x405, am: 0 });
    host.take();

    await driver.invalidateIotlb('global');

    expect(host.take()).toEqual([]);
    expect(host.held).toEqual(['405+1>100009 rw']);
  });

  test('R3: a global invalidation alone does as well', async () => {
    const { driver, host } = await rewritten();

    await driver.invalidateIotlb('global');

    expect(host.take()).toEqual(['unmap 400+200', 'map 405+1>100009 rw']);
  });

  test('R3: so does the invalidation of another page that the leaf covered', async () => {
    const { driver, domain, host } = await rewritten();

    await driver.invalidateIotlb({ domain: domain.id, iova: 0x5ff, am: 0 });

    expect(host.held).toEqual(['405+1>100009 rw']);
  });
});

describe.each(EVERYWHERE)('a 1 GiB leaf ($mode, $strictness)', (at) => {
  const CASES = [
    {
      name: 'R4: at 0x80000000 is one mapping',
      iova: 0x8_0000,
      pieces: ['80000+40000>100000 rw'],
    },
    {
      name: 'R5: at 0xc0000000 is two, around the interrupt range 0xfee00000-0xfeefffff',
      iova: 0xc_0000,
      pieces: ['c0000+3ee00>100000 rw', 'fef00+1100>13ef00 rw'],
    },
  ];

  test.each(CASES)('$name, when the device is plugged onto it', async ({ iova, pieces }) => {
    const { machine, domain, host } = arranged(at.mode, at.strictness);
    await machine.driver.map(domain, iova, GIB1, HIGH, Access.ReadWrite, { leafPages: GIB1 });

    const { report } = await machine.machine.plug(machine.nicPlace, host);

    expect(report.replayed).toBe(pieces.length);
    expect(host.take()).toEqual(pieces.map((piece) => `map ${piece}`));
    expect(host.held).toEqual(pieces);
  });

  test.each(CASES)(
    '$name, when it is mapped and unmapped under the plugged device',
    async ({ iova, pieces }) => {
      const { machine, domain, host } = arranged(at.mode, at.strictness);
      await machine.machine.plug(machine.nicPlace, host);

      await machine.driver.map(domain, iova, GIB1, HIGH, Access.ReadWrite, { leafPages: GIB1 });
      const mapped = host.take();
      await machine.driver.unmap(domain, iova, GIB1);

      expect(mapped).toEqual(pieces.map((piece) => `map ${piece}`));
      expect(host.take()).toEqual(pieces.map((piece) => `un${`map ${piece}`.split('>')[0]}`));
      expect(host.size).toBe(0);
    },
  );
});
