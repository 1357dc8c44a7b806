import { beforeAll, describe, expect, it } from 'vitest';
import { type Capture, readCapture } from '../../src/guests/capture.ts';
import type { CaptureEvent } from '../../src/guests/capture-lines.ts';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { VtdGuestDriver } from '../../src/guests/vtd-driver/driver.ts';
import { eventsAsInTables, targetsOf, GuestEventPlayer } from '../../src/guests/driver/events.ts';
import { parseRequesterId, type RequesterId } from '../../src/iommu/index.ts';
import { lookupRequest, VtdIommu } from '../../src/models/vtd/index.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { folderOf, memoryOf, pagesOf, texts, toldByQemu } from './captured-guest.ts';
import { done, leafText, walkedLeaves } from './driver-leaves.ts';
import { refusalCode } from './driver-refusal.ts';

const WITH_PLUG = ['vtd-legacy-e1000', 'vtd-legacy-e1000-aw39'];

describe.each(WITH_PLUG)('the guest of %s, its driver taken over', (name) => {
  it('holds the captured mappings before anything is played', async () => {
    const { unit, requester, capture } = await running(name);

    expect(walkedLeaves(unit, requester)).toEqual(texts(await capture.mappings()));
  });

  it('gives a new domain an identifier that the guest does not use', async () => {
    const { driver, requester } = await running(name);

    const domain = driver.createDomain({ levels: 3 });

    expect(driver.domainOf(requester)?.id).toBe(6);
    expect(domain.id).toBe(7);
  });

  it('differs from the final mappings, as recorded, only in that QEMU calls write-only leaves rw', async () => {
    const { unit, driver, requester, capture, events } = await running(name);
    const final = (await capture.finalMappings()) ?? [];
    const asToldByQemu = final.map((mapping) => ({ ...mapping, access: toldByQemu(mapping.access) }));

    play(driver, requester, events);

    expect(asToldByQemu).not.toEqual(final);
    expect(walkedLeaves(unit, requester)).toEqual(texts(asToldByQemu));
  });

  describe('after all events as the tables would tell them', () => {
    const disk = parseRequesterId('00:1f.2') as RequesterId;
    const sink = new StrictSink();
    let guest: Guest;
    let final: readonly string[];
    let diskBefore: readonly string[];

    beforeAll(async () => {
      guest = await running(name);
      const { unit, driver, requester, capture, events } = guest;
      unit.requesterSpace(requester).region.registerNotifierReplay(sink, 4096n, false);
      final = texts(await capture.finalMappings());
      diskBefore = walkedLeaves(unit, disk);
      play(driver, requester, eventsAsInTables(events, (await capture.finalMappings()) ?? []));
    });

    it('holds the final mappings', () => {
      expect(guest.events.length).toBeGreaterThan(25_000);
      expect(walkedLeaves(guest.unit, guest.requester)).toEqual(final);
    });

    it('has told them all to a shadow that followed', () => {
      const held = sink.held.map(({ iova, pages, target, access }) => leafText(iova, pages, target, access));

      expect(held).toEqual(final);
      expect(sink.violations).toEqual([]);
    });

    it('has left the tables of another requester alone', () => {
      expect(diskBefore.length).toBeGreaterThan(0);
      expect(walkedLeaves(guest.unit, disk)).toEqual(diskBefore);
    });
  });
});

describe('the guest of vtd-sm-second-stage, from boot', () => {
  it('holds the captured mappings after all events', async () => {
    const capture = await readCapture(folderOf('vtd-sm-second-stage'));
    const events = (await capture.events()) ?? [];
    const listing = (await capture.mappings()) ?? [];
    const requester = parseRequesterId(capture.eventsRequester ?? '') as RequesterId;
    const memory = memoryOf(capture, []);
    const bytes = capture.requireRegisters(0xc0).start.bytes;
    const unit = VtdIommu.fromRegisters({ memory, bytes });
    unit.reset();
    const allocator = new PageAllocator(capture.ram, targetsOf(events));
    const driver = new VtdGuestDriver({ memory, registers: unit, allocator });
    done(driver.boot({ mode: 'scalable' }));
    done(driver.attachDevice(requester, driver.createDomain({ levels: 4 })));

    play(driver, requester, eventsAsInTables(events, listing));

    expect(events).toHaveLength(17_955);
    expect(walkedLeaves(unit, requester)).toEqual(texts(listing));
  });

  it('has its entries as Linux wrote them, except for where tables lie', async () => {
    const capture = await readCapture(folderOf('vtd-sm-second-stage'));
    const memory = memoryOf(capture, [...((await capture.memory())?.pages() ?? [])]);
    const bytes = capture.requireRegisters(0xc0).start.bytes;
    const unit = VtdIommu.fromRegisters({ memory, bytes });
    const allocator = new PageAllocator(capture.ram, await pagesOf(capture));
    const driver = new VtdGuestDriver({ memory, registers: unit, allocator });
    driver.attach();
    const own = parseRequesterId('05:00.0') as RequesterId;
    const theirs = parseRequesterId('01:00.0') as RequesterId;

    done(driver.attachDevice(own, driver.createDomain({ levels: 4 })));

    expect(structuresOf(unit, own)).toEqual(structuresOf(unit, theirs));
  });
});

describe('the guest of vtd-sm-first-stage', () => {
  it('has tables that the driver does not write, and says so', async () => {
    const capture = await readCapture(folderOf('vtd-sm-first-stage'));
    const memory = memoryOf(capture, [...((await capture.memory())?.pages() ?? [])]);
    const unit = VtdIommu.fromRegisters({ memory, bytes: capture.requireRegisters(0xc0).start.bytes });
    const allocator = new PageAllocator(capture.ram, await pagesOf(capture));
    const driver = new VtdGuestDriver({ memory, registers: unit, allocator });
    driver.attach();

    const code = await refusalCode(() => driver.domainOf(parseRequesterId('00:04.0') as RequesterId));

    expect(code).toBe('unsupported');
  });
});

interface Guest {
  readonly capture: Capture;
  readonly unit: VtdIommu;
  readonly driver: VtdGuestDriver;
  readonly requester: RequesterId;
  readonly events: readonly CaptureEvent[];
}

async function running(name: string): Promise<Guest> {
  const capture = await readCapture(folderOf(name));
  const events = (await capture.events()) ?? [];
  const memory = memoryOf(capture, [...((await capture.memory())?.pages() ?? [])]);
  const unit = VtdIommu.fromRegisters({ memory, bytes: capture.requireRegisters(0xc0).start.bytes });
  const used = [...(await pagesOf(capture)), ...targetsOf(events)];
  const driver = new VtdGuestDriver({
    memory,
    registers: unit,
    allocator: new PageAllocator(capture.ram, used),
  });
  driver.attach();
  return {
    capture,
    unit,
    driver,
    requester: parseRequesterId(capture.plugRequester ?? '') as RequesterId,
    events,
  };
}

function play(driver: VtdGuestDriver, requester: RequesterId, events: readonly CaptureEvent[]): void {
  const player = new GuestEventPlayer(driver, requester);
  for (const event of events) done(player.play(event));
}

/** The words of each structure on the way to a requester's tables, without page numbers and domain identifiers. */
function structuresOf(unit: VtdIommu, requester: RequesterId): (number | string)[][] {
  const found: (number | string)[][] = [];
  lookupRequest(unit, requester, undefined, ({ structure, words }) => {
    const [lo = 0, _hi, third = 0, ...rest] = words;
    found.push([structure, lo & 0xfff, third & 0xffff0000, ...rest]);
  });
  return found;
}
