import { describe, expect, test } from 'vitest';
import { dmaRead, dmaWrite } from '../../../src/memory/index.ts';
import { spec } from '../../../src/models/virtio/index.ts';
import { MemoryHostIommu } from '../../../src/vfio/index.ts';
import { DelayedHostIommu } from '../../vfio/delayed-host.ts';
import { held } from '../../vfio/world.ts';
import { attach, detach, Guest, map } from './guest.ts';

const ALL_OF_RAM = ['0+1000 -> 0 3'];
const LEGACY = spec.VIRTIO_IOMMU_F_MAP_UNMAP | spec.VIRTIO_IOMMU_F_BYPASS;

async function plugged(guest: Guest): Promise<MemoryHostIommu> {
  const host = new MemoryHostIommu({ strictness: 'vfio-user' });
  await guest.plug(8, host);
  return host;
}

function setBypass(guest: Guest, value: number, offset: number = spec.BYPASS_OFFSET): void {
  guest.iommu.device.writeConfig(offset, new Uint8Array([value]));
}

function bypassOf(guest: Guest): number {
  const bytes = new Uint8Array(spec.CONFIG_BYTES);
  guest.iommu.device.readConfig(0, bytes);
  return spec.decodeConfig(bytes).bypass;
}

describe('bypass by configuration (5.13.6)', () => {
  test('"This applies even if the driver does not accept the VIRTIO_IOMMU_F_BYPASS_CONFIG feature and the device initializes field bypass to 1."', async () => {
    const guest = new Guest();
    const host = await plugged(guest);
    const before = held(host);
    guest.start(spec.VIRTIO_F_VERSION_1 | spec.VIRTIO_IOMMU_F_MAP_UNMAP);

    expect([before, held(host)]).toEqual([ALL_OF_RAM, ALL_OF_RAM]);
  });

  test('"The device SHOULD NOT let unattached endpoints that are not in bypass mode access the guest-physical address space."', async () => {
    const guest = new Guest({ bootBypass: false });
    const host = await plugged(guest);

    expect(held(host)).toEqual([]);
    expect(dmaRead(guest.iommu.addressSpace(8), 0n, new Uint8Array(4)).failure?.kind).toBe('translation');
  });

  test('the driver turns it off and on again', async () => {
    const guest = Guest.started();
    const host = await plugged(guest);

    setBypass(guest, 0);
    const off = held(host);
    setBypass(guest, 1);

    expect(off).toEqual([]);
    expect(held(host)).toEqual(ALL_OF_RAM);
  });

  test.each([2, 255])(
    '"The device MUST NOT present a value different than 0 or 1 in bypass." (%i)',
    (value) => {
      const guest = Guest.started({ bootBypass: false });

      setBypass(guest, value);

      expect(bypassOf(guest)).toBe(0);
    },
  );

  test('without the feature negotiated, or elsewhere in the configuration, a write changes nothing', () => {
    const guest = Guest.started({}, spec.VIRTIO_F_VERSION_1);
    const other = Guest.started();

    setBypass(guest, 0);
    setBypass(other, 0, 0);
    setBypass(other, 0, 39);
    setBypass(other, 0, 40);
    setBypass(other, 0, -1);

    expect([bypassOf(guest), bypassOf(other)]).toEqual([1, 1]);
  });

  test('"Field bypass SHOULD NOT change on device reset, but SHOULD be restored to its initial value on system reset."', () => {
    const guest = Guest.started();
    setBypass(guest, 0);

    guest.iommu.device.writeStatus(0);
    const afterReset = bypassOf(guest);
    guest.iommu.systemReset();

    expect([afterReset, bypassOf(guest)]).toEqual([0, 1]);
  });

  test('is restored by a system reset that comes while a reset of the device waits for a host', async () => {
    const guest = Guest.started();
    const inner = new MemoryHostIommu({ strictness: 'vfio-user' });
    const host = new DelayedHostIommu(inner, { answers: 'later' });
    await guest.plug(8, host);
    setBypass(guest, 0);
    await guest.done(attach(1, 8));
    await guest.done(map(1, 0x20, 1, 0x30));
    guest.iommu.device.writeStatus(0);

    guest.iommu.systemReset();
    await guest.iommu.settled();

    expect([bypassOf(guest), held(inner)]).toEqual([1, ALL_OF_RAM]);
  });

  test('an attached endpoint is not in bypass mode, and is again when it is detached', async () => {
    const guest = Guest.started();
    const host = await plugged(guest);

    guest.do(attach(1, 8));
    guest.do(map(1, 0x20, 1, 0x30));
    const attached = held(host);
    guest.do(detach(1, 8));

    expect(attached).toEqual(['20+1 -> 30 3']);
    expect(held(host)).toEqual(ALL_OF_RAM);
  });

  test('"the endpoint is attached to a domain with VIRTIO_IOMMU_ATTACH_F_BYPASS."', async () => {
    const guest = Guest.started({ bootBypass: false });
    const host = await plugged(guest);

    guest.do(attach(1, 8, spec.ATTACH_F_BYPASS));
    dmaWrite(guest.iommu.addressSpace(8), 0x1234n, new Uint8Array([42]));
    const seen = new Uint8Array(1);
    dmaRead(guest.memory, 0x1234n, seen);

    expect(held(host)).toEqual(ALL_OF_RAM);
    expect(seen[0]).toBe(42);
  });
});

describe('the superseded feature BYPASS (5.13.3)', () => {
  test('"Endpoints that are not attached to a domain are in bypass mode", once it is negotiated and until a reset', async () => {
    const guest = new Guest({ features: LEGACY });
    const host = await plugged(guest);

    const before = held(host);
    guest.start();
    const negotiated = held(host);
    guest.iommu.device.writeStatus(0);

    expect(before).toEqual([]);
    expect(negotiated).toEqual(ALL_OF_RAM);
    expect(held(host)).toEqual([]);
  });

  test('is not offered together with BYPASS_CONFIG', () => {
    const features = spec.VIRTIO_IOMMU_F_BYPASS | spec.VIRTIO_IOMMU_F_BYPASS_CONFIG;

    expect(() => new Guest({ features })).toThrow('offer BYPASS or BYPASS_CONFIG, not both');
  });
});

test('"When the device is reset, endpoints are not attached to any domain." (5.13.5)', async () => {
  const guest = Guest.started({ bootBypass: false });
  const host = await plugged(guest);
  guest.do(attach(1, 8));
  guest.do(map(1, 0x20, 1, 0x30));

  guest.iommu.device.writeStatus(0);

  expect(guest.iommu.device.status).toBe(0);
  expect(guest.iommu.domainOf(8)).toBeUndefined();
  expect(held(host)).toEqual([]);
});
