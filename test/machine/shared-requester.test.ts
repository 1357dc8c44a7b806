import { describe, expect, test } from 'vitest';
import { requesterId } from '../../src/iommu/index.ts';
import { Access } from '../../src/memory/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { HIGH, ScenarioMachine } from '../scenarios/scenario-machine.ts';
import { DelayedHostIommu } from '../vfio/delayed-host.ts';

const BRIDGE = requesterId(2, 0, 0);

/** Two devices behind the PCIe-to-PCI bridge, onto two pages. */
async function behindTheBridge(options: { readonly maxMappings?: number } = {}) {
  const machine = new ScenarioMachine();
  const { driver } = machine;
  const domain = driver.createDomain({ levels: 4 });
  await driver.attachDevice(BRIDGE, domain);
  await driver.map(domain, 0x400, 2, HIGH, Access.ReadWrite);
  const hosts = [
    new RecordingHost({ strictness: 'type1' }),
    new RecordingHost({ strictness: 'vfio-user', ...options }),
  ] as const;
  const bus = machine.conventional;
  const first = await machine.machine.plug({ bus, device: 1, name: 'first' }, hosts[0]);
  const second = await machine.machine.plug({ bus, device: 2, fn: 3, name: 'second' }, hosts[1]);
  return { machine, driver, domain, hosts, devices: [first, second] as const };
}

const TWO_PAGES = ['400+1>100000 rw', '401+1>100001 rw'];

describe('two devices behind a PCIe-to-PCI bridge', () => {
  test('are one requester to the IOMMU, whatever their slots', async () => {
    const { devices } = await behindTheBridge();

    expect(devices.map(({ fn }) => fn.bdf)).toEqual(['02:01.0', '02:02.3']);
    expect(devices.map(({ requester }) => requester)).toEqual([BRIDGE, BRIDGE]);
  });

  test('each get the mappings that exist', async () => {
    const { hosts } = await behindTheBridge();

    expect(hosts.map(({ held }) => held)).toEqual([TWO_PAGES, TWO_PAGES]);
  });

  test('both follow, told once each', async () => {
    const { driver, domain, hosts } = await behindTheBridge();
    for (const host of hosts) host.take();

    await driver.unmap(domain, 0x400, 1);
    await driver.map(domain, 0x900, 1, HIGH + 7, Access.Write);

    const told = ['unmap 400+1', 'map 900+1>100007 w'];
    expect(hosts.map((host) => host.take())).toEqual([told, told]);
  });

  test('are told of a domain switch alike', async () => {
    const { driver, hosts } = await behindTheBridge();
    const other = driver.createDomain({ levels: 3 });
    await driver.map(other, 0x10, 1, HIGH, Access.Read);

    await driver.switchDomain(BRIDGE, other);

    expect(hosts.map(({ held }) => held)).toEqual([['10+1>100000 r'], ['10+1>100000 r']]);
  });

  test('unplugging one leaves the other its mappings, and following', async () => {
    const { machine, driver, domain, hosts, devices } = await behindTheBridge();
    hosts[1].take();

    await machine.machine.unplug(devices[0]);
    const untouched = hosts[1].take();
    await driver.map(domain, 0x900, 1, HIGH + 7, Access.Write);

    expect(untouched).toEqual([]);
    expect(hosts[0].size).toBe(0);
    expect(hosts[1].held).toEqual([...TWO_PAGES, '900+1>100007 w']);
    expect(machine.machine.devices).toEqual([devices[1]]);
  });

  test('unplugging both leaves nobody listening, and the address space goes with the last', async () => {
    const { machine, hosts, devices } = await behindTheBridge();
    const space = machine.iommu.addressSpace(BRIDGE);

    await machine.machine.unplug(devices[1]);
    const afterOne = machine.iommu.addressSpace(BRIDGE);
    await machine.machine.unplug(devices[0]);

    expect(hosts.map(({ size }) => size)).toEqual([0, 0]);
    expect(afterOne).toBe(space);
    expect(machine.iommu.addressSpace(BRIDGE)).not.toBe(space);
    // It throws while anybody listens.
    expect(() => machine.guest.memory.dispose()).not.toThrow();
  });

  test('a quarantine of one is not one of the other', async () => {
    const { driver, domain, hosts, devices } = await behindTheBridge({ maxMappings: 2 });

    await driver.map(domain, 0x900, 1, HIGH + 7, Access.Write);

    expect(devices.map(({ container }) => container.state.kind)).toEqual(['attached', 'quarantined']);
    expect(hosts[0].held).toEqual([...TWO_PAGES, '900+1>100007 w']);
    expect(hosts[1].size).toBe(0);
  });

  test('a third one that cannot be plugged leaves the two as they were', async () => {
    const { machine, hosts } = await behindTheBridge();
    const small = new RecordingHost({ strictness: 'iommufd', maxMappings: 1 });
    for (const host of hosts) host.take();

    const plug = machine.machine.plug({ bus: machine.conventional, device: 3, name: 'third' }, small);

    await expect(plug).rejects.toMatchObject({ code: 'VIOMMU_PLUG_REFUSED' });
    expect(small.size).toBe(0);
    expect(hosts.map((host) => host.take())).toEqual([[], []]);
    expect(machine.iommu.requesterSpace(BRIDGE).region.notifiers).toHaveLength(4);
  });

  test('a slow one holds up the guest, not the other', async () => {
    const { machine, driver, domain, hosts } = await behindTheBridge();
    const inner = new RecordingHost({ strictness: 'vfio-user' });
    const slow = new DelayedHostIommu(inner, { answers: 'when-told' });
    const plug = machine.machine.plug({ bus: machine.conventional, device: 3, name: 'slow' }, slow);
    slow.answer();
    await plug;

    let confirmed = false;
    const unmap = Promise.resolve(driver.unmap(domain, 0x400, 1)).then(() => (confirmed = true));
    await new Promise((resolve) => setTimeout(resolve, 5));
    const before = { confirmed, held: [...hosts, inner].map(({ size }) => size) };
    slow.answer();
    await unmap;

    expect(before).toEqual({ confirmed: false, held: [1, 1, 2] });
    expect([...hosts, inner].map(({ held }) => held)).toEqual(
      Array.from({ length: 3 }, () => ['401+1>100001 rw']),
    );
  });
});

describe('a device below a root port', () => {
  test('does not share tables with those behind the bridge', async () => {
    const { machine, driver, domain, hosts } = await behindTheBridge();
    const own = machine.nicDomain();
    await driver.map(own, 0x40, 1, HIGH + 0x50, Access.ReadWrite);
    const host = new RecordingHost({ strictness: 'vfio-user' });
    await machine.machine.plug(machine.nicPlace, host);

    await driver.unmap(domain, 0x400, 2);

    expect(hosts.map(({ size }) => size)).toEqual([0, 0]);
    expect(host.held).toEqual(['40+1>100050 rw']);
  });

  test('shares the tables of a domain that it is attached to as well', async () => {
    const { machine, driver, domain, hosts } = await behindTheBridge();
    await driver.attachDevice(requesterId(1, 0, 0), domain);
    const host = new RecordingHost({ strictness: 'vfio-user' });
    await machine.machine.plug(machine.nicPlace, host);

    await driver.unmap(domain, 0x400, 1);

    expect([...hosts, host].map(({ held }) => held)).toEqual(
      Array.from({ length: 3 }, () => ['401+1>100001 rw']),
    );
  });
});
