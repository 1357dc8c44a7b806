/** The driver and our model of the device, through the queues. @module */
import { describe, expect, test } from 'vitest';
import {
  PageAllocator,
  VirtioDeviceTransport,
  VirtioIommuGuestDriver,
  type VirtioIommuRequest,
} from '../../src/guests/index.ts';
import { type LeafBatch, requesterId, WalkReport } from '../../src/iommu/index.ts';
import { Access, ALL_PAGES, dmaRead, formatAccess } from '../../src/memory/index.ts';
import { spec, VirtioIommu, type VirtioIommuOptions } from '../../src/models/virtio/index.ts';
import { guestMemory } from '../support/guest-memory.ts';

const NIC = requesterId(1, 0, 0);
const DISK = requesterId(2, 0, 0);

async function booted(options: Partial<VirtioIommuOptions> = {}) {
  const { space: memory } = guestMemory([0, 4096]);
  const iommu = new VirtioIommu({ memory, bootBypass: false, ...options });
  const transport = new VirtioDeviceTransport(iommu.device, () => iommu.settled());
  const allocator = new PageAllocator([{ start: 2048, end: 4096 }]);
  const driver = new VirtioIommuGuestDriver({ memory, transport, allocator });
  await driver.boot();
  return { memory, iommu, driver, allocator };
}

function mapped(iommu: VirtioIommu, endpoint = NIC): string[] {
  const leaves: string[] = [];
  const visit = (batch: LeafBatch): boolean => {
    for (let i = 0; i < batch.length; i++) {
      const [iova, target] = [batch.iova[i], batch.target[i]].map((page) => page.toString(16));
      leaves.push(`${iova}+${batch.pages.toString(16)}>${target} ${formatAccess(batch.access[i] as Access)}`);
    }
    return true;
  };
  iommu.endpointSpace(endpoint).region.walk(ALL_PAGES, 0, visit, new WalkReport());
  return leaves;
}

describe('the driver works our virtio IOMMU', () => {
  test('what the device is, the driver reads', async () => {
    const { driver } = await booted({ domainRange: { start: 1, end: 5 }, probeSize: 64 });

    expect(driver.config).toMatchObject({ domain_range: { start: 1, end: 5 }, probe_size: 64, bypass: 0 });
  });

  test.each([false, true])(
    'mappings come and go (descriptors in a table of their own: %s)',
    async (indirect) => {
      const { driver, iommu } = await booted();
      const map: VirtioIommuRequest = {
        type: spec.T_MAP,
        domain: 1,
        virt_start: 0x1000n,
        virt_end: 0x3fffn,
        phys_start: 0x8000n,
        flags: spec.MAP_F_READ,
      };
      await driver.attach(NIC, 1);
      const { status, usedLength } = await driver.request(map, { indirect });
      const before = mapped(iommu);

      await driver.unmap(1, 0, 16);

      expect({ status, usedLength }).toEqual({ status: spec.S_OK, usedLength: 4 });
      expect(before.length).toBeGreaterThan(0);
      expect(mapped(iommu)).toEqual([]);
    },
  );

  test('a second endpoint in the domain has the same mappings', async () => {
    const { driver, iommu } = await booted();
    await driver.attach(NIC, 1);
    await driver.map(1, 16, 1, 8, Access.ReadWrite);

    await driver.attach(DISK, 1);

    expect(mapped(iommu, DISK)).toEqual(['10+1>8 rw']);
  });

  test('a refusal comes as its status', async () => {
    const { driver } = await booted();

    const { status } = await driver.map(1, 16, 1, 8, Access.Read);

    expect(status).toBe(spec.S_NOENT);
  });

  test('a type that the device does not know comes back unwritten', async () => {
    const { driver } = await booted();

    const result = await driver.request({
      type: 'raw',
      readable: [Uint8Array.of(9, 0, 0, 0)],
      writable: [4],
    });

    expect(result).toMatchObject({ status: undefined, usedLength: 0 });
  });

  test('a probe tells of the doorbell', async () => {
    const { driver } = await booted();

    const { reserved } = await driver.probe(NIC);

    expect(reserved).toEqual([{ subtype: spec.RESV_MEM_T_MSI, start: 0xfee0_0000n, end: 0xfeef_ffffn }]);
  });

  test('faults of a device reach the driver', async () => {
    const { driver, iommu } = await booted();
    await driver.attach(NIC, 1);

    dmaRead(iommu.addressSpace(NIC), 0x5000n, new Uint8Array(4));

    expect(await driver.faults()).toMatchObject([
      { reason: spec.FAULT_R_MAPPING, endpoint: NIC, address: 0x5000n },
    ]);
  });

  test('more requests than the queue holds, in one call', async () => {
    const { driver, iommu, allocator } = await booted();
    await driver.attach(NIC, 1);
    const available = allocator.available;
    const requests = Array.from({ length: 1000 }, (_, i): VirtioIommuRequest => {
      const virt_start = BigInt(i) << 12n;
      return {
        type: spec.T_MAP,
        domain: 1,
        virt_start,
        virt_end: virt_start + 0xfffn,
        phys_start: 0n,
        flags: 1,
      };
    });

    const results = await Promise.all(driver.submit(requests));

    expect(results.filter(({ status }) => status !== spec.S_OK)).toEqual([]);
    expect(mapped(iommu)).toHaveLength(1000);
    expect(allocator.available).toBe(available);
  });

  test('after a reset endpoints are attached to nothing, and the driver boots again', async () => {
    const { driver } = await booted();
    await driver.attach(NIC, 1);

    await driver.boot();

    expect((await driver.map(1, 16, 1, 8, Access.Read)).status).toBe(spec.S_NOENT);
  });
});
