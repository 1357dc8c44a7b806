import { describe, expect, it } from 'vitest';
import { AmdviGuestDriver } from '../../src/guests/amdvi-driver/driver.ts';
import type { GuestDomain } from '../../src/guests/driver/domain.ts';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { type RequesterId, requesterId } from '../../src/iommu/index.ts';
import { guestMemory, Machine } from '../../src/machine/index.ts';
import { Access, SparseRamBlock } from '../../src/memory/index.ts';
import { AmdviIommu } from '../../src/models/amdvi/index.ts';
import type { PciBus } from '../../src/pci/index.ts';
import { MemoryHostIommu } from '../../src/vfio/index.ts';
import { done, leafText } from './driver-leaves.ts';

const NIC: RequesterId = requesterId(1, 0, 0);
/** 1 GiB of RAM at 0; the driver's tables lie at its end. */
const RAM_PAGES = 0x4_0000;
const TABLES = { start: 0x3_f000, end: RAM_PAGES };

interface World {
  readonly machine: Machine;
  readonly driver: AmdviGuestDriver;
  readonly domain: GuestDomain;
  readonly host: MemoryHostIommu;
  /** What the host holds. */
  readonly held: () => string[];
  readonly plug: () => Promise<void>;
}

/** A guest whose NIC, in a slot that is still empty, has a domain. */
function world(): World {
  const { memory } = guestMemory([{ start: 0, block: new SparseRamBlock(RAM_PAGES) }]);
  const iommu = new AmdviIommu({ memory });
  const machine = new Machine({ memory, iommu });
  const bus: PciBus = machine.pci.attachBridge('root port', 0x1c, 0, 'root-port', 1).secondary;
  const allocator = new PageAllocator([TABLES]);
  const driver = new AmdviGuestDriver({
    memory,
    registers: iommu,
    allocator,
    settled: () => iommu.settled(),
  });
  done(driver.boot({ deviceTablePages: 8 }));
  const domain = driver.createDomain({ mode: 3 });
  done(driver.attachDevice(NIC, domain));
  const host = new MemoryHostIommu({ strictness: 'vfio-user' });
  return {
    machine,
    driver,
    domain,
    host,
    held: () =>
      [...host.mappings()].map(({ iova, pages, target, access }) => leafText(iova, pages, target, access)),
    plug: async () => void (await machine.plug({ bus, device: 0, name: 'nic' }, host)),
  };
}

describe('a device plugged where an AMD-Vi guest has mappings', () => {
  it('gets them all', async () => {
    const { driver, domain, held, plug } = world();
    done(driver.map(domain, 0x10, 0x10, 0x10, Access.ReadWrite));
    done(driver.map(domain, 0x200, 0x200, 0x400, Access.Read));

    await plug();

    expect(held()).toEqual(['10+10>10 rw', '200+200>400 r']);
  });

  it('follows maps, unmaps and other targets', async () => {
    const { driver, domain, held, plug } = world();
    done(driver.map(domain, 0, 8, 8, Access.ReadWrite));
    await plug();

    await driver.map(domain, 0x20, 1, 0x99, Access.Write);
    await driver.unmap(domain, 0, 8);
    await driver.map(domain, 0, 4, 0x30, Access.Read, { skipLevels: true });
    await driver.remap(domain, 0x20, 1, Access.ReadWrite, 0x77);

    expect(held()).toEqual(['0+4>30 r', '20+1>77 rw']);
  });

  it('follows detaching, passing through and coming back', async () => {
    const { driver, domain, held, plug } = world();
    done(driver.map(domain, 0, 8, 8, Access.ReadWrite));
    await plug();

    await driver.detachDevice(NIC);
    const detached = held();
    await driver.attachDevice(NIC, driver.passThroughDomain());
    const passing = held();
    await driver.switchDomain(NIC, domain);

    expect(detached).toEqual([]);
    expect(passing).toEqual(['0+40000>0 rw']);
    expect(held()).toEqual(['0+8>8 rw']);
  });

  it('sees nothing of a change that the unit was not told', async () => {
    const { driver, domain, held, plug } = world();
    done(driver.map(domain, 0, 8, 8, Access.ReadWrite));
    await plug();
    const table = domain.tables?.tableAt(0, 1) ?? 0;

    for (let index = 0; index < 8; index++) driver.writeEntry(table, index, 0, 0);
    const before = held();
    await driver.invalidatePages(domain, { start: 0, end: 8 });

    expect(before).toEqual(['0+8>8 rw']);
    expect(held()).toEqual([]);
  });
});
