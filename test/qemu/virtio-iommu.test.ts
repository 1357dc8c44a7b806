/** A device of ours behind QEMU's virtio-iommu, where QEMU does what the specification says. @module */
import { describe, expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/virtio/index.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { RAM_UNTRANSLATED } from '../../src/qemu/index.ts';
import { Sink } from './harness/sink.ts';
import { NO_BYPASS, pluggedAndAttached, QemuVirtioMachine, VIRTIO_SLOTS } from './harness/virtio-machine.ts';

const { fn: endpoint } = VIRTIO_SLOTS.express;

describeQemu('virtio-iommu: set-up', () => {
  test('the device offers what the driver knows, and no more than that is accepted', async () => {
    const { driver, transport } = await QemuVirtioMachine.start();

    expect(await transport.features()).toBe(0x101_3000_0077n);
    expect(driver.features).toBe(0x1_1000_0077n);
    expect(driver.config).toEqual({
      page_size_mask: 0xffff_ffff_ffff_f000n,
      input_range: { start: 0n, end: 0x7f_ffff_ffffn },
      domain_range: { start: 0, end: 0xffff_ffff },
      probe_size: 512,
      bypass: 1,
    });
  });

  test('endpoints are the functions that QEMU has; behind a PCIe-to-PCI bridge all are device 0 of its bus', async () => {
    const machine = await QemuVirtioMachine.start();
    const sink = await Sink.serve();
    const { fn } = VIRTIO_SLOTS.conventional;
    await machine.plug(sink.socket, 'conventional');

    const probes = await Promise.all(
      [endpoint, fn, fn & 0xff00].map((requester) => machine.driver.probe(requester)),
    );

    expect(probes.map(({ status }) => status)).toEqual([spec.S_NOENT, spec.S_NOENT, spec.S_OK]);
  });

  test('a probe tells of the range of interrupts', async () => {
    const { machine } = await pluggedAndAttached();

    const { reserved } = await machine.driver.probe(endpoint);

    expect(reserved).toEqual([{ subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn }]);
  });

  test('queue notifications show in the ISR status until it is read', async () => {
    const { transport, driver } = await QemuVirtioMachine.start();
    await driver.probe(0);

    expect([await transport.readIsr(), await transport.readIsr()]).toEqual([1, 0]);
  });
});

describeQemu('virtio-iommu: mappings', () => {
  test('what is mapped and unmapped arrives, with direct descriptors and with a table of them', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 16, 0x10_0000, Access.ReadWrite);
    const map = { type: spec.T_MAP, domain: 1, virt_start: 0x200_0000n, virt_end: 0x200_0fffn } as const;
    await machine.driver.request({ ...map, phys_start: 0x4000n, flags: spec.MAP_F_READ }, { indirect: true });
    const mapped = sink.ledger;

    await machine.driver.unmap(1, 0, 2 ** 20);

    expect(mapped).toEqual(['1000+10>80000 rw', '2000+1>4 r']);
    expect(sink.ledger).toEqual([]);
  });

  test('10,000 requests with few notifications', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    const requests = Array.from({ length: 10_000 }, (_, i) => {
      const virt_start = BigInt(0x1000 + i) << 12n;
      const range = { virt_start, virt_end: virt_start + 0xfffn, phys_start: virt_start };
      return { type: spec.T_MAP, domain: 1, ...range, flags: spec.MAP_F_READ } as const;
    });

    const results = await Promise.all(machine.driver.submit(requests));

    expect(results.filter(({ status }) => status !== spec.S_OK)).toEqual([]);
    expect(sink.counts).toEqual({ maps: 10_000, unmaps: 0, refused: 0 });
  });

  test('a device that is plugged behind the same bridge gets what is there', async () => {
    const machine = await QemuVirtioMachine.start(NO_BYPASS);
    const { conventional, neighbour } = VIRTIO_SLOTS;
    const [first, second] = [await Sink.serve(), await Sink.serve()];
    await machine.plug(first.socket, 'conventional');
    await machine.driver.attach(conventional.fn & 0xff00, 1);
    await machine.driver.map(1, 0x1000, 3, 0x40, Access.ReadWrite);

    await machine.plug(second.socket, 'neighbour');

    expect(neighbour.bus).toBe(conventional.bus);
    expect(second.take()).toEqual(['map 1000+2', 'map 1002+1']);
    expect(second.ledger).toEqual(first.ledger);
  });

  test('an endpoint stays attached while no device is there, and what is plugged gets its mappings', async () => {
    const { machine } = await pluggedAndAttached(NO_BYPASS);
    await machine.unplug('express');
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);
    const sink = await Sink.serve();

    await machine.plug(sink.socket);

    expect(sink.take()).toEqual(['map 1000+1']);
  });

  test.each([
    ['what is mapped already', 0x1000, 1, spec.S_INVAL],
    ['more around it', 0xfff, 3, spec.S_INVAL],
  ])('mapping %s is refused and changes nothing', async (_what, iova, pages, expected) => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);
    sink.take();

    const { status } = await machine.driver.map(1, iova, pages, 0x80, Access.Read);

    expect(status).toBe(expected);
    expect(sink.take()).toEqual([]);
  });
});

describeQemu('virtio-iommu: bypass', () => {
  describe('of endpoints that are attached to nothing', () => {
    test('it follows the configuration field', async () => {
      const machine = await QemuVirtioMachine.start();
      const sink = await Sink.serve();
      await machine.plug(sink.socket);
      const before = sink.sharedLedger;
      await machine.driver.writeBypass(0);
      const off = sink.ledger;

      await machine.driver.writeBypass(1);

      expect(before).toEqual(RAM_UNTRANSLATED);
      expect(off).toEqual([]);
      expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
    });
  });

  test('a bypass domain lets everything pass, and maps nothing', async () => {
    const machine = await QemuVirtioMachine.start(NO_BYPASS);
    const sink = await Sink.serve();
    await machine.plug(sink.socket);
    await machine.driver.attach(endpoint, 2, spec.ATTACH_F_BYPASS);

    const { status } = await machine.driver.map(2, 0x1000, 1, 0x40, Access.Read);

    expect(status).toBe(spec.S_INVAL);
    expect(sink.sharedLedger).toEqual(RAM_UNTRANSLATED);
  });
});

describeQemu('virtio-iommu: fault reports', () => {
  const EDU = { ...NO_BYPASS, devices: ['edu,bus=rp3,addr=0,dma_mask=0xffffffffffffffff'] };
  const { fn: edu } = VIRTIO_SLOTS.other;
  const { FAULT_R_MAPPING, FAULT_F_ADDRESS, FAULT_F_READ } = spec;

  test('each 4 bytes that a device reads where nothing is mapped are a report', async () => {
    const machine = await QemuVirtioMachine.start(EDU);
    await machine.driver.attach(edu, 1);

    await machine.eduReads('other', 0x5008n, 8);

    const report = { reason: FAULT_R_MAPPING, flags: FAULT_F_ADDRESS, endpoint: edu };
    expect(await machine.driver.faults()).toEqual([
      { ...report, address: 0x5008n },
      { ...report, address: 0x500cn },
    ]);
  });

  test('a read of what may only be written says so', async () => {
    const machine = await QemuVirtioMachine.start(EDU);
    await machine.driver.attach(edu, 1);
    await machine.driver.map(1, 5, 1, 0x40, Access.Write);

    await machine.eduReads('other', 0x5000n, 4);

    const flags = FAULT_F_ADDRESS | FAULT_F_READ;
    expect(await machine.driver.faults()).toEqual([
      { reason: FAULT_R_MAPPING, flags, endpoint: edu, address: 0x5000n },
    ]);
  });

  test('a read of what is mapped is none', async () => {
    const machine = await QemuVirtioMachine.start(EDU);
    await machine.driver.attach(edu, 1);
    await machine.driver.map(1, 5, 1, 0x40, Access.Read);

    await machine.eduReads('other', 0x5000n, 8);

    expect(await machine.driver.faults()).toEqual([]);
  });
});
