/** A host with room for exactly what the guest has mapped: changes must not need room for the old and the new. @module */
import { describe, expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import type { HostStrictness } from '../../src/vfio/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { ALL_RAM, HIGH, NIC, ScenarioMachine } from '../scenarios/scenario-machine.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

/** Three mappings, and a host that can hold three. */
async function full(strictness: HostStrictness) {
  const machine = new ScenarioMachine({ mode: 'scalable' });
  const domain = machine.nicDomain();
  await machine.driver.map(domain, 0x800, 3, HIGH, Access.ReadWrite);
  const host = new RecordingHost({ strictness, maxMappings: 3 });
  const device = await machine.machine.plug(machine.nicPlace, host);
  host.take();
  return { machine, driver: machine.driver, domain, host, device };
}

describe.each(STRICTNESSES)('a host that is full (%s)', (strictness) => {
  test('takes the mappings of another domain in the place of the first', async () => {
    const { driver, host, device } = await full(strictness);
    const other = driver.createDomain({ levels: 4 });
    await driver.map(other, 0x400, 3, HIGH + 0x50, Access.Read);

    await driver.switchDomain(NIC, other);

    expect(device.container.state).toEqual({ kind: 'attached' });
    expect(host.take()).toEqual([
      'unmap 800+1',
      'unmap 801+1',
      'unmap 802+1',
      'map 400+1>100050 r',
      'map 401+1>100051 r',
      'map 402+1>100052 r',
    ]);
  });

  test('takes the mappings of another domain that lie on the other side of the interrupt range', async () => {
    const { driver, domain, host, device } = await full(strictness);
    const other = driver.createDomain({ levels: 4 });
    await driver.map(other, 0xf_f000, 3, HIGH + 0x50, Access.Read);
    await driver.switchDomain(NIC, other);
    const above = host.held;

    await driver.switchDomain(NIC, domain);

    expect(above).toEqual(['ff000+1>100050 r', 'ff001+1>100051 r', 'ff002+1>100052 r']);
    expect(device.container.state).toEqual({ kind: 'attached' });
    expect(host.held).toEqual(['800+1>100000 rw', '801+1>100001 rw', '802+1>100002 rw']);
  });

  test('takes guest RAM when translation is turned off, and the mappings when it is turned on', async () => {
    const { driver, host, device } = await full(strictness);

    await driver.setTranslation(false);
    const direct = host.held;
    await driver.setTranslation(true);

    expect(direct).toEqual(ALL_RAM);
    expect(host.held).toEqual(['800+1>100000 rw', '801+1>100001 rw', '802+1>100002 rw']);
    expect(device.container.state).toEqual({ kind: 'attached' });
  });

  test('takes what the guest rewrote before it invalidated everything', async () => {
    const { machine, driver, domain, host, device } = await full(strictness);
    const table = domain.tables?.tableAt(0x800, 1) ?? Number.NaN;
    for (let i = 0; i < 3; i++) {
      driver.writeEntry(table, i, 0, 0);
      driver.writeEntry(table, 0x100 - i, ((HIGH + i) << 12) | Access.Write, HIGH >>> 20);
    }

    await driver.invalidateIotlb('global');

    expect(machine.observed('quarantined')).toEqual([]);
    expect(device.container.state).toEqual({ kind: 'attached' });
    expect(host.held).toEqual(['8fe+1>100002 w', '8ff+1>100001 w', '900+1>100000 w']);
  });
});
