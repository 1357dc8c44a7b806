import { describe, expect, test } from 'vitest';
import { requesterId } from '../../src/iommu/index.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import type { HostStrictness } from '../../src/vfio/index.ts';
import { RecordingHost } from '../scenarios/recording-host.ts';
import { HIGH, NIC, ScenarioMachine } from '../scenarios/scenario-machine.ts';
import { DelayedHostIommu } from '../vfio/delayed-host.ts';
import { refusalOf } from '../vfio/world.ts';

const STRICTNESSES: readonly HostStrictness[] = ['type1', 'iommufd', 'vfio-user'];

/** A machine whose guest has mapped three pages for the device. */
function threePages() {
  const machine = new ScenarioMachine();
  const domain = machine.nicDomain();
  void machine.driver.map(domain, 0x400, 3, HIGH, Access.ReadWrite);
  return { machine, domain, host: new RecordingHost({ strictness: 'vfio-user' }) };
}

const THREE_PAGES = ['400+1>100000 rw', '401+1>100001 rw', '402+1>100002 rw'];

describe('a plug', () => {
  test('takes the slot and tells what it replayed', async () => {
    const { machine, host } = threePages();

    const device = await machine.machine.plug(machine.nicPlace, host);

    expect(device.fn.bdf).toBe('01:00.0');
    expect(device.requester).toBe(NIC);
    expect(device.report).toMatchObject({ replayed: 3, ramSections: 0, notRam: 0, faultCount: 0 });
    expect(device.container.state).toEqual({ kind: 'attached' });
    expect(machine.machine.devices).toEqual([device]);
    expect(machine.express.functions).toEqual([device.fn]);
    expect(host.held).toEqual(THREE_PAGES);
  });

  test('into a slot that is taken says by whom, and leaves both hosts alone', async () => {
    const { machine, host } = threePages();
    const first = await machine.machine.plug(machine.nicPlace, host);
    const second = new RecordingHost({ strictness: 'vfio-user' });
    host.take();

    const plug = machine.machine.plug({ ...machine.nicPlace, name: 'other' }, second);

    await expect(plug).rejects.toThrow('slot 01:00.0 holds nic already');
    expect(second.messages).toEqual({ map: 0, unmap: 0, barrier: 0 });
    expect(host.take()).toEqual([]);
    expect(machine.machine.devices).toEqual([first]);
    expect(first.container.state).toEqual({ kind: 'attached' });
  });

  test('into a slot whose plug is under way is refused, and the first goes on', async () => {
    const { machine, host } = threePages();
    const slow = new DelayedHostIommu(host, { answers: 'when-told' });
    const first = machine.machine.plug(machine.nicPlace, slow);

    const second = machine.machine.plug(machine.nicPlace, new RecordingHost({ strictness: 'type1' }));
    await expect(second).rejects.toThrow('slot 01:00.0 holds nic already');
    slow.answer();

    expect((await first).report.replayed).toBe(3);
    expect(host.held).toEqual(THREE_PAGES);
  });

  test('makes no device known before the host has confirmed', async () => {
    const { machine, host } = threePages();
    const slow = new DelayedHostIommu(host, { answers: 'when-told' });

    const plug = machine.machine.plug(machine.nicPlace, slow);
    const before = machine.machine.devices;
    slow.answer();
    const device = await plug;

    expect(before).toEqual([]);
    expect(machine.machine.devices).toEqual([device]);
  });

  test('follows what the guest changes while the host is still answering', async () => {
    const { machine, domain, host } = threePages();
    const slow = new DelayedHostIommu(host, { answers: 'later' });
    const plug = machine.machine.plug(machine.nicPlace, slow);

    await Promise.all([
      machine.driver.unmap(domain, 0x401, 1),
      machine.driver.map(domain, 0x800, 1, HIGH + 9, Access.Read),
    ]);
    await plug;

    expect(host.held).toEqual(['400+1>100000 rw', '402+1>100002 rw', '800+1>100009 r']);
  });
});

describe.each(STRICTNESSES)('a plug that %s refuses', (strictness) => {
  test('leaves nothing: no mapping, no function, no notifier, no listener, no address space', async () => {
    const { machine } = threePages();
    const host = new RecordingHost({ strictness, maxMappings: 2 });
    const space = machine.iommu.addressSpace(NIC);

    const { refusal } = await refusalOf(machine.machine.plug(machine.nicPlace, host));

    expect(refusal).toMatchObject({ cause: 'too-many-mappings', mapping: { iova: 0x402, pages: 1 } });
    expect(host.take()).toEqual(['map 400+1>100000 rw', 'map 401+1>100001 rw', 'unmap 400+1', 'unmap 401+1']);
    expect(host.size).toBe(0);
    expect(machine.machine.devices).toEqual([]);
    expect(machine.express.functions).toEqual([]);
    expect(machine.iommu.requesterSpace(NIC).region.notifiers).toEqual([]);
    expect(machine.iommu.addressSpace(NIC)).not.toBe(space);
    // It throws while anybody listens.
    expect(() => machine.guest.memory.dispose()).not.toThrow();
  });

  test('tells neither guest nor observer of a quarantine', async () => {
    const { machine } = threePages();
    const host = new RecordingHost({ strictness, maxMappings: 2 });

    await refusalOf(machine.machine.plug(machine.nicPlace, host));

    expect(machine.events).toEqual([]);
    expect(Number(machine.iommu.readRegister(spec.FSTS_REG, 4)) & spec.FSTS_PPF).toBe(0);
  });

  test('can be had again by a host with more room', async () => {
    const { machine } = threePages();
    const small = new RecordingHost({ strictness, maxMappings: 2 });
    const roomy = new RecordingHost({ strictness, maxMappings: 3 });
    await refusalOf(machine.machine.plug(machine.nicPlace, small));

    const device = await machine.machine.plug(machine.nicPlace, roomy);

    expect(device.report.replayed).toBe(3);
    expect(roomy.held).toEqual(THREE_PAGES);
    expect(small.size).toBe(0);
  });
});

describe('a plug into a host that fails', () => {
  test.each([1, 2, 3, 4])('at call %i is refused and leaves the machine as it was', async (failAt) => {
    const { machine, host } = threePages();
    const failing = new DelayedHostIommu(host, { answers: 'later', failAt, fault: 'die' });

    const { refusal } = await refusalOf(machine.machine.plug(machine.nicPlace, failing));

    expect(refusal).toMatchObject({ cause: 'host-lost', mapping: undefined });
    expect(machine.machine.devices).toEqual([]);
    expect(machine.express.functions).toEqual([]);
  });

  test.each([1, 2, 3])(
    'to take mapping %i is refused with its IOVA, and the others go again',
    async (failAt) => {
      const { machine, host } = threePages();
      const failing = new DelayedHostIommu(host, { answers: 'later', failAt, fault: 'refuse' });

      const { refusal } = await refusalOf(machine.machine.plug(machine.nicPlace, failing));

      expect(refusal).toMatchObject({
        cause: 'host-refused',
        errno: 'ENOMEM',
        mapping: { iova: 0x400 + failAt - 1 },
      });
      expect(host.size).toBe(0);
      expect(machine.machine.devices).toEqual([]);
    },
  );
});

describe('an unplug', () => {
  test('empties the host by exact unmaps and frees the slot', async () => {
    const { machine, host } = threePages();
    const device = await machine.machine.plug(machine.nicPlace, host);
    host.take();

    await machine.machine.unplug(device);

    expect(host.take()).toEqual(['unmap 400+1', 'unmap 401+1', 'unmap 402+1']);
    expect(host.size).toBe(0);
    expect(host.refusals).toEqual([]);
    expect(machine.machine.devices).toEqual([]);
    expect(machine.express.functions).toEqual([]);
  });

  test('ends all following', async () => {
    const { machine, domain, host } = threePages();
    const device = await machine.machine.plug(machine.nicPlace, host);
    await machine.machine.unplug(device);
    host.take();

    await machine.driver.map(domain, 0x800, 1, HIGH, Access.ReadWrite);
    await machine.driver.setTranslation(false);

    expect(host.take()).toEqual([]);
    // It throws while anybody listens.
    expect(() => machine.guest.memory.dispose()).not.toThrow();
  });

  test('keeps the slot until the host has confirmed', async () => {
    const { machine, host } = threePages();
    const slow = new DelayedHostIommu(host, { answers: 'when-told' });
    const plug = machine.machine.plug(machine.nicPlace, slow);
    slow.answer();
    const unplug = machine.machine.unplug(await plug);

    const meanwhile = machine.express.functions.length;
    const again = machine.machine.plug(machine.nicPlace, new RecordingHost({ strictness: 'type1' }));
    await expect(again).rejects.toThrow('slot 01:00.0 holds nic already');
    slow.answer();
    await unplug;

    expect(meanwhile).toBe(1);
    expect(machine.express.functions).toEqual([]);
    expect(host.size).toBe(0);
  });

  test('of a device that is not plugged says so', async () => {
    const { machine, host } = threePages();
    const device = await machine.machine.plug(machine.nicPlace, host);
    await machine.machine.unplug(device);

    await expect(machine.machine.unplug(device)).rejects.toThrow('nic is not plugged in');
  });

  test('and another plug replay what the guest has mapped by then', async () => {
    const { machine, domain, host } = threePages();
    await machine.machine.unplug(await machine.machine.plug(machine.nicPlace, host));
    await machine.driver.unmap(domain, 0x400, 2);

    const { report } = await machine.machine.plug(machine.nicPlace, host);

    expect(report.replayed).toBe(1);
    expect(host.held).toEqual(['402+1>100002 rw']);
  });
});

describe('a quarantine', () => {
  test('is told to the guest by a fault record of its requester and address', async () => {
    const { machine, domain } = threePages();
    const host = new RecordingHost({ strictness: 'type1', maxMappings: 3 });
    const device = await machine.machine.plug(machine.nicPlace, host);

    await machine.driver.map(domain, 0x800, 1, HIGH, Access.ReadWrite);

    const record = spec.BASE_CAPABILITY.FRO * 16;
    expect(device.container.state).toMatchObject({ kind: 'quarantined', cause: 'too-many-mappings' });
    expect(machine.iommu.readRegister(record, 8)).toBe(0x80_0000n);
    expect(machine.iommu.readRegister(record + 8, 8) & 0xffffn).toBe(BigInt(requesterId(1, 0, 0)));
    expect(machine.observed('quarantined')[0]?.source).toBe('nic 01:00.0');
    expect(host.size).toBe(0);
  });

  test('does not keep the device from being unplugged and plugged into a better host', async () => {
    const { machine, domain } = threePages();
    const small = new RecordingHost({ strictness: 'type1', maxMappings: 3 });
    const device = await machine.machine.plug(machine.nicPlace, small);
    await machine.driver.map(domain, 0x800, 1, HIGH, Access.ReadWrite);
    const roomy = new RecordingHost({ strictness: 'type1' });

    await machine.machine.unplug(device);
    const { report } = await machine.machine.plug(machine.nicPlace, roomy);

    expect(report.replayed).toBe(4);
    expect(roomy.held).toEqual([...THREE_PAGES, '800+1>100000 rw']);
  });
});
