import { describe, expect, test } from 'vitest';
import type { VirtioIommuRequest } from '../../src/guests/index.ts';
import { Access } from '../../src/memory/index.ts';
import { spec } from '../../src/models/virtio/index.ts';
import { CONFIG, FEATURES, type FoundBuffer, plainWorld } from './virtio-driver-device.ts';

const OK = Uint8Array.of(spec.S_OK, 0, 0, 0);

async function booted(options?: Parameters<ReturnType<typeof plainWorld>['driver']['boot']>[0]) {
  const world = plainWorld();
  await world.driver.boot(options);
  world.device.heard.splice(0);
  return world;
}

/** A device that lets requests lie, for tests that answer themselves. */
async function silent() {
  const world = await booted();
  const answerAll = world.device.work;
  world.device.work = () => undefined;
  return { ...world, answerAll };
}

describe('boot', () => {
  test('the status goes up step by step, and buffers for reports are announced after DRIVER_OK', async () => {
    const { device, driver } = plainWorld();

    await driver.boot();

    expect(device.heard).toEqual(['status 0', 'status 1', 'status 3', 'status 11', 'status 15', 'notify 1']);
  });

  test('features that the driver does not know are not accepted', async () => {
    const { device, driver } = plainWorld();
    device.offered = FEATURES | spec.VIRTIO_F_EVENT_IDX;

    await driver.boot();

    expect(device.accepted).toBe(FEATURES);
    expect(driver.features).toBe(FEATURES);
  });

  test('a driver may accept fewer', async () => {
    const { device } = await booted({ features: spec.VIRTIO_F_VERSION_1 });

    expect(device.accepted).toBe(spec.VIRTIO_F_VERSION_1);
  });

  test('a device that clears FEATURES_OK is given up', async () => {
    const { device, driver } = plainWorld();
    device.readStatus = () => device.status & ~spec.FEATURES_OK;

    await expect(driver.boot()).rejects.toMatchObject({ code: 'unsupported' });
    expect(device.status).toBe(spec.FAILED);
  });

  test('a device without queues is no virtio-iommu', async () => {
    const { device, driver } = plainWorld();
    device.queueSize = 0;

    await expect(driver.boot()).rejects.toMatchObject({ code: 'unsupported' });
  });

  test('a device that does not reset is stuck', async () => {
    const { device, driver } = plainWorld();
    device.readStatus = () => spec.DRIVER_OK;

    await expect(driver.boot()).rejects.toMatchObject({ code: 'stuck' });
  });

  test('the configuration is read', async () => {
    const { driver } = await booted();

    expect(driver.config).toEqual(CONFIG);
  });

  test('fields whose feature was not negotiated say what holds without it', async () => {
    const { driver } = await booted({ features: spec.VIRTIO_F_VERSION_1 });

    expect(driver.config).toEqual({
      page_size_mask: CONFIG.page_size_mask,
      input_range: { start: 0n, end: 0xffff_ffff_ffff_ffffn },
      domain_range: { start: 0, end: 0xffff_ffff },
      probe_size: 0,
      bypass: 0,
    });
  });

  test('queues are as large as the device takes, or smaller on request', async () => {
    const { device } = await booted({ queueSize: 4 });

    expect(device.queue(spec.REQUESTQ).size).toBe(4);
  });

  test('the areas of a queue are aligned and do not overlap', async () => {
    const { device } = await booted();

    const { size, desc, driver, device: used } = device.queue(spec.REQUESTQ);

    expect([desc % 16n, driver % 2n, used % 4n]).toEqual([0n, 0n, 0n]);
    expect(driver - desc).toBeGreaterThanOrEqual(16 * size);
    expect(used - driver).toBeGreaterThanOrEqual(6 + 2 * size);
  });

  test('a size that is no power of two is refused', async () => {
    const { driver } = plainWorld();

    await expect(driver.boot({ queueSize: 6 })).rejects.toMatchObject({ code: 'bad-argument' });
  });

  test('nothing is submitted before it', () => {
    const { driver } = plainWorld();

    expect(() => driver.submit([])).toThrow('call boot() first');
  });

  test('booting again leaves no page behind', async () => {
    const { driver, allocator } = await booted();
    const available = allocator.available;

    await driver.boot();

    expect(allocator.available).toBe(available);
  });
});

describe('requests', () => {
  test.each([
    [
      'attach',
      () => (w: World) => w.driver.attach(0x108, 7, 1),
      { type: spec.T_ATTACH, domain: 7, endpoint: 0x108, flags: 1, reserved: 0 },
    ],
    [
      'detach',
      () => (w: World) => w.driver.detach(0x108, 7),
      { type: spec.T_DETACH, domain: 7, endpoint: 0x108 },
    ],
    [
      'map',
      () => (w: World) => w.driver.map(7, 0x10_0000, 2, 0x40, Access.ReadWrite),
      {
        type: spec.T_MAP,
        domain: 7,
        virt_start: 0x1_0000_0000n,
        virt_end: 0x1_0000_1fffn,
        phys_start: 0x4_0000n,
        flags: 3,
      },
    ],
    [
      'unmap',
      () => (w: World) => w.driver.unmap(7, 0, 2 ** 52),
      { type: spec.T_UNMAP, domain: 7, virt_start: 0n, virt_end: 0xffff_ffff_ffff_ffffn, reserved: 0 },
    ],
    ['probe', () => (w: World) => w.driver.probe(0x108), { type: spec.T_PROBE, endpoint: 0x108 }],
  ])('%s: the device reads what was asked for', async (_name, ask, expected) => {
    const world = await silent();

    const answer = ask()(world);
    const [buffer] = world.device.requests;
    world.answerAll();
    await answer;

    expect(spec.decodeRequest(buffer?.readable ?? OK)).toEqual(expected);
  });

  test('a request is one readable descriptor and one writable, which has room for the tail', async () => {
    const { driver, device, answerAll } = await silent();

    const answer = driver.attach(1, 2);
    const [buffer] = device.requests;
    answerAll();
    await answer;

    expect(shape(buffer)).toEqual(['read 20', 'write 4']);
  });

  test('a probe has room for the properties and the tail', async () => {
    const { driver, device, answerAll } = await silent();

    const answer = driver.probe(1);
    const [buffer] = device.requests;
    answerAll();
    await answer;

    expect(shape(buffer)).toEqual(['read 72', 'write 68']);
  });

  test('the answer has the status and the used length', async () => {
    const { driver, device } = await booted();
    device.work = () =>
      device.requests.splice(0).forEach((b) => device.answer(b, Uint8Array.of(spec.S_NOENT, 0, 0, 0)));

    const { status, usedLength } = await driver.detach(1, 2);

    expect({ status, usedLength }).toEqual({ status: spec.S_NOENT, usedLength: 4 });
  });

  test('a buffer that comes back unwritten has no status', async () => {
    const { driver, device } = await booted();
    device.work = () => device.requests.splice(0).forEach(({ head }) => device.giveBack(head, 0));

    const result = await driver.attach(1, 2);

    expect(result).toEqual({ status: undefined, usedLength: 0, written: Uint8Array.of(255, 255, 255, 255) });
  });

  test('a probe gives the reserved memory', async () => {
    const { driver, device } = await booted();
    const msi = { subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn };
    const properties = new Uint8Array(68);
    properties.set(spec.encodeReservedMemory(msi));
    device.work = () => device.requests.splice(0).forEach((b) => device.answer(b, properties));

    const { status, usedLength, reserved } = await driver.probe(1);

    expect({ status, usedLength, reserved }).toEqual({ status: spec.S_OK, usedLength: 68, reserved: [msi] });
  });

  test('a refused probe gives none', async () => {
    const { driver, device } = await booted();
    const answer = new Uint8Array(68).fill(1);
    answer[64] = spec.S_NOENT;
    device.work = () => device.requests.splice(0).forEach((b) => device.answer(b, answer));

    const { status, reserved } = await driver.probe(1);

    expect({ status, reserved }).toEqual({ status: spec.S_NOENT, reserved: [] });
  });

  test('raw parts are descriptors as they are, readable ones first', async () => {
    const { driver, device, answerAll } = await silent();

    const answer = driver.request({
      type: 'raw',
      readable: [Uint8Array.of(9, 8), Uint8Array.of(7)],
      writable: [1, 3],
    });
    const [buffer] = device.requests;
    answerAll();
    await answer;

    expect(shape(buffer)).toEqual(['read 2', 'read 1', 'write 1', 'write 3']);
    expect([...(buffer?.readable ?? [])]).toEqual([9, 8, 7]);
  });

  test('indirect: the descriptors stand in a table, and one of the queue refers to it', async () => {
    const { driver, device, answerAll } = await silent();

    const answer = driver.request({ type: spec.T_PROBE, endpoint: 5 }, { indirect: true });
    const [buffer] = device.requests;
    answerAll();
    await answer;

    expect(buffer?.indirect).toBe(true);
    expect(shape(buffer)).toEqual(['read 72', 'write 68']);
  });

  test('indirect is refused where it was not negotiated', async () => {
    const { driver } = await booted({ features: spec.VIRTIO_F_VERSION_1 });

    const answer = driver.request({ type: spec.T_PROBE, endpoint: 5 }, { indirect: true });

    await expect(answer).rejects.toMatchObject({ code: 'bad-argument' });
  });

  test('a raw request without parts, or with more than the queue has, is refused', async () => {
    const { driver } = await booted({ queueSize: 8 });

    await expect(driver.request(readable(0))).rejects.toMatchObject({ code: 'bad-argument' });
    await expect(driver.request(readable(9))).rejects.toMatchObject({ code: 'bad-argument' });
  });
});

type World = Awaited<ReturnType<typeof booted>>;

function shape(buffer: FoundBuffer | undefined): string[] {
  return (buffer?.descriptors ?? []).map(
    ({ len, flags }) => `${(flags & spec.DESC_F_WRITE) === 0 ? 'read' : 'write'} ${len}`,
  );
}

function readable(parts: number): VirtioIommuRequest {
  return { type: 'raw', readable: Array.from({ length: parts }, () => OK), writable: [] };
}
