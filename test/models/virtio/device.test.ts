import { describe, expect, test } from 'vitest';
import { spec } from '../../../src/models/virtio/index.ts';
import { attach, Guest, map, probe } from './guest.ts';

const STARTED = spec.ACKNOWLEDGE | spec.DRIVER;

/** A guest whose driver has found the device. */
function found(): Guest {
  const guest = new Guest();
  guest.iommu.device.writeStatus(STARTED);
  return guest;
}

describe('features (2.2)', () => {
  test('that were offered, VERSION_1 among them, are accepted', () => {
    const { device } = found().iommu;
    device.chooseFeatures(spec.VIRTIO_F_VERSION_1 | spec.VIRTIO_IOMMU_F_MAP_UNMAP);

    device.writeStatus(STARTED | spec.FEATURES_OK);

    expect(device.status).toBe(STARTED | spec.FEATURES_OK);
    expect(device.has(spec.VIRTIO_IOMMU_F_MAP_UNMAP)).toBe(true);
    expect(device.has(spec.VIRTIO_IOMMU_F_PROBE)).toBe(false);
  });

  test.each([
    ['without VERSION_1', spec.VIRTIO_IOMMU_F_MAP_UNMAP],
    ['that were not offered', spec.VIRTIO_F_VERSION_1 | spec.VIRTIO_IOMMU_F_BYPASS],
  ])('%s are not', (_what, features) => {
    const { device } = found().iommu;
    device.chooseFeatures(features);

    device.writeStatus(STARTED | spec.FEATURES_OK);

    expect(device.status).toBe(STARTED);
    expect(device.has(spec.VIRTIO_IOMMU_F_MAP_UNMAP)).toBe(false);
  });

  test('cannot be chosen anew once they are negotiated', () => {
    const guest = Guest.started();
    const before = guest.iommu.device.driverFeatures;

    guest.iommu.device.chooseFeatures(0n);

    expect(guest.iommu.device.driverFeatures).toBe(before);
  });
});

describe('status (2.1)', () => {
  test('has no DRIVER_OK without FEATURES_OK', () => {
    const { device } = found().iommu;

    device.writeStatus(STARTED | spec.DRIVER_OK);

    expect(device.status).toBe(STARTED);
  });

  test('bits are not taken away but by a reset', () => {
    const { device } = Guest.started().iommu;

    device.writeStatus(spec.FAILED);
    const failed = device.status;
    device.writeStatus(0);

    expect(failed).toBe(STARTED | spec.FEATURES_OK | spec.DRIVER_OK | spec.FAILED);
    expect(device.status).toBe(0);
    expect(device.isQueueEnabled(spec.REQUESTQ)).toBe(false);
  });

  test('DEVICE_NEEDS_RESET cannot be written', () => {
    const { device } = found().iommu;

    device.writeStatus(STARTED | spec.DEVICE_NEEDS_RESET);

    expect(device.status).toBe(STARTED);
  });
});

describe('queues', () => {
  test('are enabled when features are negotiated, once, and only those that there are', () => {
    const guest = found();
    const { device } = guest.iommu;
    const { setup } = guest.requests;
    const early = device.enableQueue(0, setup);
    device.chooseFeatures(spec.VIRTIO_F_VERSION_1);
    device.writeStatus(STARTED | spec.FEATURES_OK);

    expect(early).toBe(false);
    expect([0, 0, 2, -1, 1].map((index) => device.enableQueue(index, setup))).toEqual([
      true,
      false,
      false,
      false,
      true,
    ]);
  });

  test('of more entries than the device can have are not enabled', () => {
    const guest = found();
    const { device } = guest.iommu;
    device.chooseFeatures(spec.VIRTIO_F_VERSION_1);
    device.writeStatus(STARTED | spec.FEATURES_OK);

    expect(device.enableQueue(0, { ...guest.requests.setup, size: 512 })).toBe(false);
    expect(device.queueSizeMax).toBe(256);
  });

  test('are not looked at before DRIVER_OK, and then at once', () => {
    const guest = found();
    const { device } = guest.iommu;
    device.chooseFeatures(spec.VIRTIO_F_VERSION_1);
    device.writeStatus(STARTED | spec.FEATURES_OK);
    device.enableQueue(spec.REQUESTQ, guest.requests.setup);
    const number = guest.post(attach(1, 8));
    const early = guest.reply(number);

    device.writeStatus(STARTED | spec.FEATURES_OK | spec.DRIVER_OK);

    expect(early).toBeUndefined();
    expect(guest.reply(number)?.status).toBe(spec.S_OK);
  });

  test('take notifications too many, and of queues that there are not', () => {
    const guest = Guest.started();

    for (const index of [0, 0, 1, 2, -1, 0xffff]) guest.iommu.device.notify(index);

    expect(guest.notified).toEqual([]);
  });

  test('tell the driver once of what was used together', () => {
    const guest = Guest.started();
    for (let i = 0; i < 3; i++) guest.queue(spec.encodeRequest(probe(i)), 516);

    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.notified).toEqual([spec.REQUESTQ]);
  });

  test('work with EVENT_IDX', () => {
    const guest = Guest.started({}, new Guest().iommu.device.features);
    const statuses = [1, 2, 3].map((endpoint) => guest.do(attach(1, endpoint)));

    expect(statuses).toEqual([0, 0, 0]);
    expect(guest.requests.availEvent).toBe(3);
  });
});

describe('configuration (5.13.4)', () => {
  test('reads in any piece, and as zeros beyond its end', () => {
    const { device } = new Guest({ pageSizeMask: 0x20_1000n, probeSize: 64 }).iommu;
    const whole = new Uint8Array(48).fill(0xee);
    const piece = new Uint8Array(4);

    device.readConfig(0, whole);
    device.readConfig(spec.PROBE_SIZE_OFFSET, piece);

    expect(spec.decodeConfig(whole)).toEqual({
      page_size_mask: 0x20_1000n,
      input_range: { start: 0n, end: 2n ** 64n - 1n },
      domain_range: { start: 0, end: 0xffff_ffff },
      probe_size: 64,
      bypass: 1,
    });
    expect([...whole.subarray(40)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...piece]).toEqual([64, 0, 0, 0]);
  });

  test.each([0n, 0x800n, 0x1800n])('a page size mask of %i is refused', (pageSizeMask) => {
    expect(() => new Guest({ pageSizeMask })).toThrow('set bits of 4 KiB');
  });

  test('features that the device does not have are refused', () => {
    expect(() => new Guest({ features: spec.VIRTIO_F_ACCESS_PLATFORM })).toThrow('cannot offer features');
  });

  test('the identity is that of an IOMMU (5.13.1)', () => {
    expect([new Guest().iommu.device.deviceId, new Guest().iommu.device.queueCount]).toEqual([23, 2]);
  });
});

describe('a driver that makes no sense', () => {
  test('stops the device, which says so and goes on after a reset (2.1.2)', () => {
    const guest = Guest.started();
    guest.requests.setAvailable(0x4000);
    guest.iommu.device.notify(spec.REQUESTQ);
    const { status } = guest.iommu.device;
    const stopped = guest.do(attach(1, 8));

    guest.iommu.device.writeStatus(0);
    guest.restart();

    expect(status & spec.DEVICE_NEEDS_RESET).not.toBe(0);
    expect(guest.configChanges).toBe(1);
    expect(guest.observed.map(({ kind }) => kind)).toEqual(['needs-reset']);
    expect(stopped).toBeUndefined();
    expect(guest.do(attach(1, 8))).toBe(spec.S_OK);
  });

  test('gets requests back that were complete before it went wrong', () => {
    const guest = Guest.started();
    guest.queue(spec.encodeRequest(attach(1, 8)), 4);
    guest.requests.offer(0xffff);

    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.iommu.domainOf(8)?.id).toBe(1);
    expect(guest.iommu.device.status & spec.DEVICE_NEEDS_RESET).not.toBe(0);
  });

  test('gets buffers with a flaw back unused, and the others are answered', () => {
    const guest = Guest.started();
    guest.requests.describe(40, { addr: 0n, len: 1, flags: spec.DESC_F_NEXT, next: 40 });
    guest.requests.offer(40);
    guest.queue(spec.encodeRequest(probe(8)), 516);

    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.requests.used()).toEqual([
      { id: 40, len: 0 },
      { id: 0, len: 516 },
    ]);
    expect(guest.observed.map(({ kind }) => kind)).toEqual(['bad-buffer']);
  });

  test('cannot have a request carried out whose status cannot be written', () => {
    const guest = Guest.started();
    guest.do(attach(1, 8));
    guest.queue(spec.encodeRequest(map(1, 1, 1, 1)), 4);
    guest.requests.describe(3, { addr: 0xffff_f000n, len: 4, flags: spec.DESC_F_WRITE });

    guest.iommu.device.notify(spec.REQUESTQ);

    expect(guest.iommu.domainOf(8)?.mappings.size).toBe(0);
    expect(guest.requests.used().map(({ len }) => len)).toEqual([0]);
  });

  test('that breaks the event queue stops the device, too', () => {
    const guest = Guest.started({ bootBypass: false });
    guest.events.setAvailable(0x4000);

    guest.iommu.accessBlocked(8, 1, 1, spec.FAULT_R_DOMAIN);

    expect(guest.iommu.device.status & spec.DEVICE_NEEDS_RESET).not.toBe(0);
    expect(guest.iommu.droppedFaults).toBe(1);
  });
});
