/** What a host is sent when tables change, message by message; docs/conformance.md has what QEMU sends. @module */
import { describe, expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { RecordingHost } from './recording-host.ts';
import { ALL_RAM, HIGH, type Mode, ScenarioMachine } from './scenario-machine.ts';

const MODES: readonly Mode[] = ['legacy', 'scalable'];

const MIB2 = 0x200;
const GIB1 = 0x4_0000;

/** A machine with a domain for the device, and a host to plug it into. */
function arranged(mode: Mode) {
  const machine = new ScenarioMachine({ mode });
  return { machine, domain: machine.nicDomain(), host: new RecordingHost({ strictness: 'vfio-user' }) };
}

describe.each(MODES)('one 2 MiB mapping, and translation is turned off (%s)', (mode) => {
  /** The mapping lies where the device is to see RAM directly afterwards. */
  async function plugged() {
    const { machine, domain, host } = arranged(mode);
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

  test('R1: turned on again, RAM goes section by section and the mapping comes back', async () => {
    const { machine, host } = await plugged();
    await machine.driver.setTranslation(false);
    host.take();

    await machine.driver.setTranslation(true);

    expect(host.take()).toEqual(['unmap 100000+80000', 'unmap 0+80000', 'map 400+200>100400 rw']);
    expect(host.held).toEqual(['400+200>100400 rw']);
  });
});

describe.each(MODES)('a 1 GiB leaf (%s)', (mode) => {
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
    const { machine, domain, host } = arranged(mode);
    await machine.driver.map(domain, iova, GIB1, HIGH, Access.ReadWrite, { leafPages: GIB1 });

    const { report } = await machine.machine.plug(machine.nicPlace, host);

    expect(report.replayed).toBe(pieces.length);
    expect(host.take()).toEqual(pieces.map((piece) => `map ${piece}`));
    expect(host.held).toEqual(pieces);
  });

  test.each(CASES)(
    '$name, when it is mapped and unmapped under the plugged device',
    async ({ iova, pieces }) => {
      const { machine, domain, host } = arranged(mode);
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
