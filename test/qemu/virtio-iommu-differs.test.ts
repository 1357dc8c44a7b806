/**
 * Where QEMU 11.1.3's virtio-iommu does not do what the specification (virtio 1.3, 5.13) says: these tests state what it
 * does, so that a QEMU that does better is noticed.
 *
 * @module
 */
import { expect, test } from 'vitest';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/virtio/index.ts';
import { eventually } from './harness/eventually.ts';
import { describeQemu } from './harness/find-qemu.ts';
import { Sink } from './harness/sink.ts';
import { NO_BYPASS, pluggedAndAttached, QemuVirtioMachine, VIRTIO_SLOTS } from './harness/virtio-machine.ts';

const { fn: endpoint } = VIRTIO_SLOTS.express;
const { fn: other } = VIRTIO_SLOTS.other;

/** A MAP of bytes, both ends inclusive. */
function map(virt_start: bigint, virt_end: bigint, phys_start: bigint, flags: number = spec.MAP_F_READ) {
  return { type: spec.T_MAP, domain: 1, virt_start, virt_end, phys_start, flags } as const;
}

describeQemu('R8: a second endpoint is attached to a domain that is not empty', () => {
  test.each([
    [
      'it bypassed: every mapping is sent to it twice, and refused the second time',
      {},
      ['map 1000+10', 'map 1000+10 EEXIST'],
    ],
    ['it reached nothing: every mapping is sent once', NO_BYPASS, ['map 1000+10']],
  ])('%s', async (_what, options, expected) => {
    const { machine } = await pluggedAndAttached(options);
    const second = await Sink.serve();
    await machine.plug(second.socket, 'other');
    await machine.driver.map(1, 0x1000, 16, 0x40, Access.ReadWrite);
    second.take();

    await machine.driver.attach(other, 1);

    expect(second.take().filter((line) => line.startsWith('map'))).toEqual(expected);
    expect(second.ledger).toEqual(['1000+10>40 rw']);
  });
});

describeQemu('R9: MAP that is not aligned to the granule', () => {
  /** 5.13.6.5: S_RANGE. */
  test.each([
    ['the start', map(0x100_0800n, 0x100_1fffn, 0x4_0800n), ['map 1000+0 EINVAL', 'map 1001+1']],
    ['the end', map(0x100_0000n, 0x100_07ffn, 0x4_0000n), ['map 1000+0 EINVAL']],
    ['the target', map(0x100_0000n, 0x100_0fffn, 0x4_0800n), ['map 1000+1 EINVAL']],
  ])('%s: S_OK, and what the device hears it refuses', async (_what, request, expected) => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);

    const { status } = await machine.driver.request(request);

    expect(status).toBe(spec.S_OK);
    expect(sink.take()).toEqual(expected);
  });
});

describeQemu('R10: MAP to what is not RAM, or not only', () => {
  test.each([
    ['a hole', 0x40_0000, 1],
    ['the registers of a device', 0xe_1000, 1],
    ['RAM and the hole behind it', 0x7_ffff, 2],
  ])('%s: S_OK, and nothing is mapped', async (_what, target, pages) => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);

    const { status } = await machine.driver.map(1, 0x1000, pages, target, Access.ReadWrite);

    expect(status).toBe(spec.S_OK);
    expect(sink.take()).toEqual([]);
  });
});

describeQemu('R11: UNMAP that would split a mapping', () => {
  /** 5.13.6.6: S_RANGE, and no mapping is removed. */
  test('S_RANGE, but a mapping that it covers is gone, when QEMU comes upon it first', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);
    await machine.driver.map(1, 0x1001, 2, 0x50, Access.ReadWrite);
    sink.take();

    const { status } = await machine.driver.unmap(1, 0x1000, 2);

    expect(status).toBe(spec.S_RANGE);
    expect(sink.take()).toEqual(['unmap 1000+1']);
  });
});

describeQemu('MAP beyond what was announced', () => {
  /** 5.13.6: outside input_range it fails; 5.13.6.8.1: what overlaps RESV_MEM should be refused. */
  test.each([
    ['beyond input_range', 0x800_0000],
    ['over the range of interrupts that PROBE tells of', 0xf_ee00],
  ])('%s: S_OK, and it is mapped', async (_what, iova) => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);

    const { status } = await machine.driver.map(1, iova, 1, 0x40, Access.ReadWrite);

    expect(status).toBe(spec.S_OK);
    expect(sink.take()).toEqual([`map ${iova.toString(16)}+1`]);
  });
});

describeQemu('a server refuses a MAP', () => {
  test('QEMU prints it, and the guest is told S_OK', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS, { limits: { maxMappings: 1 } });
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);

    const { status } = await machine.driver.map(1, 0x2000, 1, 0x40, Access.ReadWrite);

    expect(status).toBe(spec.S_OK);
    expect(sink.take()).toEqual(['map 1000+1', 'map 2000+1 ENOSPC']);
    await eventually(() => machine.qemu.stderr).toContain('No space left on device');
  });
});

describeQemu('an endpoint is attached to the domain that it is in, alone', () => {
  /** 5.13.6.3 has an endpoint detached first only when it is attached to another domain. */
  test('the domain and its mappings are gone', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);

    const { status } = await machine.driver.attach(endpoint, 1);

    expect(status).toBe(spec.S_OK);
    expect(sink.ledger).toEqual([]);
  });
});

describeQemu('an endpoint is attached to another domain while unattached ones bypass', () => {
  /** 5.13.6.3: as DETACH and ATTACH in one; that nothing is open in between would be better. */
  test('for a moment it can reach all RAM', async () => {
    const { machine, sink } = await pluggedAndAttached();
    sink.take();

    await machine.driver.attach(endpoint, 2);

    const told = sink.take();
    expect(told).toContain('map 100000+80000');
    expect(told).toContain('unmap 100000+80000');
    expect(sink.ledger).toEqual([]);
  });
});

describeQemu('ATTACH whose flag is not that of the domain', () => {
  /** 5.13.6.3: rejected, S_INVAL. */
  test('S_INVAL, and the endpoint has lost its domain all the same', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    const second = await Sink.serve();
    await machine.plug(second.socket, 'other');
    await machine.driver.attach(other, 2, spec.ATTACH_F_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);

    const { status } = await machine.driver.attach(endpoint, 2);

    expect(status).toBe(spec.S_INVAL);
    expect(sink.ledger).toEqual([]);
    expect((await machine.driver.detach(endpoint, 1)).status).toBe(spec.S_INVAL);
  });
});

describeQemu('requests that are no good', () => {
  const attach = spec.encodeRequest({ type: spec.T_ATTACH, domain: 1, endpoint, flags: 0, reserved: 1 });

  test.each([
    /** 5.13.6.3: S_INVAL, must. */
    ['ATTACH with a reserved field that is not zero', attach, spec.S_OK, 4],
    /** 5.13.6: used length 0, nothing written. */
    ['an unknown type', Uint8Array.of(9, 0, 0, 0), spec.S_UNSUPP, 4],
  ])('%s', async (_what, readable, status, usedLength) => {
    const { machine } = await pluggedAndAttached(NO_BYPASS);

    const result = await machine.driver.request({ type: 'raw', readable: [readable], writable: [4] });

    expect(result).toMatchObject({ status, usedLength });
  });

  /** 5.13.6: the buffers come back unwritten. */
  test.each([
    ['no room for a tail', [attach], [2]],
    ['nothing to read', [], [4]],
  ])('%s: the device needs a reset', async (_what, readable, writable) => {
    const { machine } = await pluggedAndAttached(NO_BYPASS);

    const request = machine.driver.request({ type: 'raw', readable, writable });

    await expect(request).rejects.toMatchObject({ code: 'needs-reset' });
    await eventually(() => machine.qemu.stderr).toContain('virtio-iommu bad head/tail size');
  });

  /** 5.13.6.3: an endpoint that does not exist is S_NOENT. */
  test('an endpoint beyond 16 bits is the one with the same low bits, in two domains at once', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);

    const { status } = await machine.driver.attach(0x1_0000 + endpoint, 2);
    await machine.driver.map(2, 0x2000, 1, 0x50, Access.ReadWrite);

    expect(status).toBe(spec.S_OK);
    expect(sink.ledger).toEqual(['1000+1>40 rw', '2000+1>50 rw']);
  });
});

describeQemu('the driver resets the device', () => {
  /** 5.13.5: afterwards endpoints are attached to no domain. */
  test('endpoints stay attached, and their mappings stay', async () => {
    const { machine, sink } = await pluggedAndAttached(NO_BYPASS);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);

    await machine.driver.boot();

    expect(sink.ledger).toEqual(['1000+1>40 rw']);
    expect((await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite)).status).toBe(spec.S_INVAL);
  });
});

describeQemu('a second device is plugged behind a bridge, onto mappings', () => {
  test('the first one is sent all of them again, and refuses them', async () => {
    const machine = await QemuVirtioMachine.start(NO_BYPASS);
    const [first, second] = [await Sink.serve(), await Sink.serve()];
    await machine.plug(first.socket, 'conventional');
    await machine.driver.attach(VIRTIO_SLOTS.conventional.fn & 0xff00, 1);
    await machine.driver.map(1, 0x1000, 1, 0x40, Access.ReadWrite);
    first.take();

    await machine.plug(second.socket, 'neighbour');

    expect(first.take()).toEqual(['map 1000+1 EEXIST']);
  });
});

describeQemu('a device reads without being attached', () => {
  /** 5.13.6.9: reason DOMAIN. */
  test('the report has the reason UNKNOWN', async () => {
    const devices = ['edu,bus=rp3,addr=0,dma_mask=0xffffffffffffffff'];
    const machine = await QemuVirtioMachine.start({ ...NO_BYPASS, devices });

    await machine.eduReads('other', 0x5000n, 4);

    expect(await machine.driver.faults()).toEqual([
      { reason: spec.FAULT_R_UNKNOWN, flags: spec.FAULT_F_ADDRESS, endpoint: other, address: 0x5000n },
    ]);
  });
});
