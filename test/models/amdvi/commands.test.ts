import { describe, expect, it } from 'vitest';
import { ALL_PAGES } from '../../../src/memory/index.ts';
import {
  AmdviGuest,
  CMD_BUF_EN,
  CMD_BUF_RUN,
  COM_WAIT_INT,
  COM_WAIT_INT_EN,
  type Command,
  COMMAND_BASE,
  COMMAND_HEAD,
  COMMAND_TAIL,
  COMMANDS,
  CONTROL,
  DEVICE,
  INTERRUPTING_WAIT,
  INVALIDATE_ALL,
  invalidateDomain,
  invalidateEntry,
  invalidateInterrupts,
  invalidateIotlb,
  invalidatePage,
  invalidatePages,
  OTHER,
  PREFETCH,
  RAM_PAGES,
  RUNNING,
  STATUS,
  wait,
} from './amdvi-guest.ts';
import { FollowingHost } from './following-host.ts';
import { leafText } from './observe.ts';

interface World {
  readonly guest: AmdviGuest;
  readonly host: FollowingHost;
  readonly other: FollowingHost;
  readonly root: number;
  readonly otherRoot: number;
}

/** Two devices in domains 5 and 6, followed by a host each, and an IOMMU that runs. */
function running(): World {
  const guest = new AmdviGuest();
  const root = guest.tables([0x1000, 0x800], [0x1001, 0x801]);
  const otherRoot = guest.tables([0x1000, 0x900]);
  guest.entry(DEVICE, { root, domain: 5 });
  guest.entry(OTHER, { root: otherRoot, domain: 6 });
  guest.start();
  const host = new FollowingHost(guest.iommu, DEVICE);
  const other = new FollowingHost(guest.iommu, OTHER);
  host.takeLog();
  other.takeLog();
  return { guest, host, other, root, otherRoot };
}

describe('the command buffer', () => {
  it('takes every command from head to tail', () => {
    const { guest } = running();
    guest.submit(wait(0x1122_3344_5566_7788n), wait(9n, 1));

    expect([guest.stored(0), guest.stored(1)]).toEqual([0x1122_3344_5566_7788n, 9n]);
    expect(guest.read(COMMAND_HEAD)).toBe(0x20n);
  });

  it('runs past its end to its beginning', () => {
    const { guest } = running();
    for (let i = 0; i < 255; i++) guest.submit(PREFETCH);
    guest.submit(wait(1n, 1), wait(2n, 2));

    expect(guest.read(COMMAND_HEAD)).toBe(0x10n);
    expect([guest.stored(1), guest.stored(2)]).toEqual([1n, 2n]);
  });

  it('does nothing before CmdBufEn and IommuEn are set, and then what waits', () => {
    const guest = new AmdviGuest();
    guest.start(CMD_BUF_EN);
    guest.submit(wait(7n));
    const before = [guest.stored(), guest.status & CMD_BUF_RUN];
    guest.write(CONTROL, RUNNING);

    expect(before).toEqual([0n, 0]);
    expect(guest.stored()).toBe(7n);
    expect(guest.status & CMD_BUF_RUN).toBe(CMD_BUF_RUN);
  });

  it('stops when CmdBufEn is cleared and goes on when it is set', () => {
    const { guest } = running();
    guest.write(CONTROL, RUNNING & ~CMD_BUF_EN);
    guest.submit(wait(7n));
    const before = [guest.stored(), guest.status & CMD_BUF_RUN];
    guest.write(CONTROL, RUNNING);

    expect(before).toEqual([0n, 0]);
    expect(guest.stored()).toBe(7n);
  });

  it('starts at its beginning when its base is written', () => {
    const { guest } = running();
    guest.submit(PREFETCH, PREFETCH);
    guest.write(COMMAND_BASE, (9n << 56n) | BigInt(COMMANDS * 4096));

    expect([guest.read(COMMAND_HEAD), guest.read(COMMAND_TAIL)]).toEqual([0n, 0n]);
  });

  it('with a reserved length does not start', () => {
    const guest = new AmdviGuest();
    guest.start(0);
    guest.write(COMMAND_BASE, (7n << 56n) | BigInt(COMMANDS * 4096));
    guest.write(CONTROL, RUNNING);
    guest.submit(wait(7n));

    expect(guest.status & CMD_BUF_RUN).toBe(0);
    expect(guest.stored()).toBe(0n);
  });

  it.each([0x7_fff0n, 0xffff_ffff_ffff_ffffn, 0x1008n])(
    'takes any tail, %x among them, as one inside it',
    (tail) => {
      const { guest } = running();
      for (let i = 0; i < 256; i++) guest.put(PREFETCH);
      guest.write(COMMAND_TAIL, tail);

      expect(guest.read(COMMAND_HEAD)).toBe(tail & 0xff0n);
      expect(guest.status & CMD_BUF_RUN).toBe(CMD_BUF_RUN);
    },
  );

  it('takes any head as one inside it', () => {
    const { guest } = running();
    for (let i = 0; i < 256; i++) guest.put(PREFETCH);
    guest.write(COMMAND_HEAD, 0x7_ffe0n);
    guest.write(COMMAND_TAIL, 0x10n);

    expect(guest.read(COMMAND_HEAD)).toBe(0x10n);
  });
});

describe('COMPLETION_WAIT', () => {
  it('sets ComWaitInt with i and interrupts when ComWaitIntEn is set', () => {
    const { guest } = running();
    guest.iommu.interruptMessage = { address: 0xfee0_3000n, data: 0x41 };
    guest.submit(INTERRUPTING_WAIT);
    const quiet = [...guest.messages];
    guest.write(STATUS, COM_WAIT_INT);
    guest.write(CONTROL, RUNNING | COM_WAIT_INT_EN);
    guest.submit(INTERRUPTING_WAIT, INTERRUPTING_WAIT);

    expect(quiet).toEqual([]);
    expect(guest.messages).toEqual([{ address: 0xfee0_3000n, data: 0x41 }]);
    expect(guest.status & COM_WAIT_INT).toBe(COM_WAIT_INT);
  });

  it('interrupts nobody before the guest has programmed its MSI capability', () => {
    const { guest } = running();
    guest.write(CONTROL, RUNNING | COM_WAIT_INT_EN);
    guest.submit(INTERRUPTING_WAIT);

    expect(guest.messages).toEqual([]);
    expect(guest.status & COM_WAIT_INT).toBe(COM_WAIT_INT);
  });

  it('that cannot store stops the buffer at it with a COMMAND_HARDWARE_ERROR', () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    const before = wait(5n, 1);
    guest.submit(before, [(1n << 60n) | 1n | 0x7fff_f008n, 5n], invalidatePage(5, 0x1000), wait(6n));

    expect([guest.stored(1), guest.stored()]).toEqual([5n, 0n]);
    expect(guest.read(COMMAND_HEAD)).toBe(0x10n);
    expect(guest.status & CMD_BUF_RUN).toBe(0);
    expect(guest.takeEvents()).toEqual([[0x62n << 56n, 0x7fff_f008n]]);
    expect(host.takeLog()).toEqual(['unmap 1000+1']);
  });

  it('completes only when every host behind what was asked before has confirmed', async () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    host.hold();
    guest.submit(invalidatePage(5, 0x1000), wait(7n));
    const before = [guest.stored(), guest.read(COMMAND_HEAD)];
    await host.confirm();

    expect(before).toEqual([0n, 0n]);
    expect(host.takeLog()).toEqual(['unmap 1000+1']);
    expect([guest.stored(), guest.read(COMMAND_HEAD)]).toEqual([7n, 0x20n]);
  });

  it('that is submitted while a host has yet to confirm waits for its turn', async () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    host.hold();
    guest.submit(invalidatePage(5, 0x1000));
    guest.submit(wait(8n));
    const before = guest.stored();
    await host.confirm();

    expect([before, guest.stored()]).toEqual([0n, 8n]);
  });

  it('completes though CmdBufEn was cleared meanwhile; CmdBufRun is clear after that', async () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    host.hold();
    guest.submit(invalidatePage(5, 0x1000), wait(7n));
    guest.write(CONTROL, RUNNING & ~CMD_BUF_EN);
    const before = guest.status & CMD_BUF_RUN;
    await host.confirm();

    expect(before).toBe(CMD_BUF_RUN);
    expect(guest.status & CMD_BUF_RUN).toBe(0);
    expect(guest.stored()).toBe(7n);
  });
});

describe('INVALIDATE_IOMMU_PAGES', () => {
  it('of one page follows that page for its domain alone', () => {
    const { guest, host, other, root, otherRoot } = running();
    guest.map(root, 3, 0x1000, 1, 0x900);
    guest.map(root, 3, 0x1001, 1, 0x901);
    guest.map(otherRoot, 3, 0x1000, 1, 0x910);
    guest.submit(invalidatePage(5, 0x1000));

    expect(host.takeLog()).toEqual(['unmap 1000+1', 'map 1000+1']);
    expect(other.takeLog()).toEqual([]);
  });

  it('with S follows as many pages as its address encodes', () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1003, 1, 0x903);
    guest.map(root, 3, 0x1004, 1, 0x904);
    guest.submit(invalidatePages(5, 0x1000, 4));

    expect(host.takeLog()).toEqual(['map 1003+1']);
  });

  it('of a whole domain follows all of it', () => {
    const { guest, host, other, root, otherRoot } = running();
    guest.map(root, 3, 0x7ff_ffff, 1, 0x903);
    guest.map(root, 3, 0x1000, 1, 0, 0);
    guest.map(otherRoot, 3, 0x1000, 1, 0, 0);
    guest.submit(invalidateDomain(5));

    expect(host.takeLog()).toEqual(['unmap 1000+1', 'map 7ffffff+1']);
    expect(other.takeLog()).toEqual([]);
  });

  it('of an unchanged domain sends nothing', () => {
    const { guest, host } = running();
    guest.submit(invalidateDomain(5), INVALIDATE_ALL);

    expect(host.takeLog()).toEqual([]);
  });

  it('follows a page that grows and one that is split', () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 16, 0x820);
    guest.submit(invalidatePages(5, 0x1000, 16));
    const grown = host.mappings;
    for (let i = 0; i < 16; i++) guest.map(root, 3, 0x1000 + i, 1, 0x820 + i);
    guest.map(root, 3, 0x1004, 1, 0, 0);
    guest.submit(invalidatePage(5, 0x1004));

    expect(grown).toEqual([leafText(0x1000, 16, 0x820, 3)]);
    expect(host.mappings).toHaveLength(15);
    expect(host.allViolations).toEqual([]);
  });
});

describe('INVALIDATE_DEVTAB_ENTRY', () => {
  it('of an entry rewritten as it was sends nothing', () => {
    const { guest, host, root } = running();
    guest.entry(DEVICE, { root, domain: 5 });
    guest.submit(invalidateEntry(DEVICE), wait(1n));

    expect(host.takeLog()).toEqual([]);
    expect(guest.stored()).toBe(1n);
  });

  it('of an entry whose domain alone changed sends nothing, and the new domain counts', () => {
    const { guest, host, root } = running();
    guest.entry(DEVICE, { root, domain: 9 });
    guest.submit(invalidateEntry(DEVICE));
    const log = host.takeLog();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    guest.submit(invalidatePage(9, 0x1000));

    expect(log).toEqual([]);
    expect(host.takeLog()).toEqual(['unmap 1000+1']);
  });

  it('of an entry with other tables sends the difference, unmaps first', () => {
    const { guest, host, other } = running();
    guest.entry(DEVICE, { root: guest.tables([0x1001, 0x801], [0x1002, 0x802]), domain: 5 });
    guest.submit(invalidateEntry(DEVICE));

    expect(host.takeLog()).toEqual(['unmap 1000+1', 'map 1002+1']);
    expect(other.takeLog()).toEqual([]);
  });

  it('of an entry that no longer translates shows RAM in one transaction', () => {
    const { guest, host } = running();
    guest.entry(DEVICE, { v: false });
    guest.submit(invalidateEntry(DEVICE));

    expect(host.takeLog()).toEqual(['unmap 1000+1', 'unmap 1001+1', 'ram 0-4000']);
  });

  it('of an entry with fewer permissions maps with those', () => {
    const { guest, host, root } = running();
    guest.entry(DEVICE, { root, domain: 5, access: 1 });
    guest.submit(invalidateEntry(DEVICE));

    expect(host.mappings).toEqual([leafText(0x1000, 1, 0x800, 1), leafText(0x1001, 1, 0x801, 1)]);
    expect(host.allViolations).toEqual([]);
  });
});

describe('other commands', () => {
  it('INVALIDATE_IOMMU_ALL follows entries and pages of every device', () => {
    const { guest, host, other, otherRoot } = running();
    guest.entry(DEVICE, { v: false });
    guest.map(otherRoot, 3, 0x1000, 1, 0, 0);
    guest.submit(INVALIDATE_ALL);

    expect(host.mappings).toEqual([]);
    expect([...host.direct]).toEqual(['0-4000']);
    expect(other.takeLog()).toEqual(['unmap 1000+1']);
  });

  it('INVALIDATE_IOTLB_PAGES tells the IOTLB of the device, and no shadow', () => {
    const { guest, host } = running();
    const told: string[] = [];
    guest.iommu.requesterSpace(DEVICE).region.registerNotifier({
      events: 'device-iotlb-unmap',
      range: ALL_PAGES,
      index: 0,
      notify: ({ iova, pages }) => void told.push(`${iova.toString(16)}+${pages}`),
    });
    guest.submit(invalidateIotlb(DEVICE, 0x1000), invalidateIotlb(OTHER, 0x1000));

    expect(told).toEqual(['1000+1']);
    expect(host.takeLog()).toEqual([]);
  });

  it('of interrupt tables and prefetching are accepted', () => {
    const { guest } = running();
    guest.submit(invalidateInterrupts(DEVICE), PREFETCH, wait(3n));

    expect(guest.stored()).toBe(3n);
  });
});

describe('a command in error', () => {
  const ILLEGAL: Command = [0xfn << 60n, 0n];

  it('stops the buffer at it, with what came before done and an ILLEGAL_COMMAND_ERROR', () => {
    const { guest, host, root } = running();
    guest.map(root, 3, 0x1000, 1, 0, 0);
    guest.submit(invalidatePage(5, 0x1000), wait(1n), ILLEGAL, wait(2n, 1));

    expect(host.takeLog()).toEqual(['unmap 1000+1']);
    expect([guest.stored(0), guest.stored(1)]).toEqual([1n, 0n]);
    expect(guest.read(COMMAND_HEAD)).toBe(0x20n);
    expect(guest.status & CMD_BUF_RUN).toBe(0);
    expect(guest.takeEvents()).toEqual([[0x5n << 60n, BigInt(COMMANDS * 4096 + 0x20)]]);
  });

  it('is not passed by a new tail', () => {
    const { guest } = running();
    guest.submit(ILLEGAL);
    guest.submit(wait(2n));

    expect(guest.stored()).toBe(0n);
    expect(guest.takeEvents()).toHaveLength(1);
  });

  it('is taken again when CmdBufEn was cleared and set', () => {
    const { guest } = running();
    guest.submit(ILLEGAL, wait(2n));
    guest.poke(COMMANDS, 0, PREFETCH[0]);
    guest.write(CONTROL, RUNNING & ~CMD_BUF_EN);
    guest.write(CONTROL, RUNNING);

    expect(guest.stored()).toBe(2n);
    expect(guest.status & CMD_BUF_RUN).toBe(CMD_BUF_RUN);
  });

  it('outside RAM is a COMMAND_HARDWARE_ERROR', () => {
    const { guest } = running();
    guest.write(COMMAND_BASE, (8n << 56n) | BigInt(RAM_PAGES * 4096));
    guest.write(COMMAND_TAIL, 0x10n);

    expect(guest.status & CMD_BUF_RUN).toBe(0);
    expect(guest.takeEvents()).toEqual([[0x62n << 56n, BigInt(RAM_PAGES * 4096)]]);
    expect(guest.observed.at(-1)?.message).toContain('does not lie in RAM');
  });
});

describe('without NpCache', () => {
  it('a host cannot follow, and is told what would help', () => {
    const guest = new AmdviGuest({ capability: { NpCache: false } });
    guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
    guest.start();
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect(host.refused[0]?.message).toContain('-device amd-iommu,dma-remap=on');
    expect(host.mappings).toEqual([]);
  });

  it('a host can follow a guest that will not run again', () => {
    const guest = new AmdviGuest({ capability: { NpCache: false }, guestStopped: true });
    guest.entry(DEVICE, { root: guest.tables([0x1000, 0x800]) });
    guest.start();
    const host = new FollowingHost(guest.iommu, DEVICE);

    expect(host.refused).toEqual([]);
    expect(host.mappings).toEqual([leafText(0x1000, 1, 0x800, 3)]);
  });
});
