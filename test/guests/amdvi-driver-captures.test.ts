import { existsSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { AmdviGuestDriver } from '../../src/guests/amdvi-driver/driver.ts';
import { type Capture, readCapture } from '../../src/guests/capture.ts';
import type { CaptureEvent } from '../../src/guests/capture-lines.ts';
import { eventsAsInTables, GuestEventPlayer, targetsOf } from '../../src/guests/driver/events.ts';
import { PageAllocator } from '../../src/guests/page-allocator.ts';
import { parseRequesterId, type RequesterId } from '../../src/iommu/index.ts';
import { AmdviIommu } from '../../src/models/amdvi/index.ts';
import { StrictSink } from '../support/strict-sink.ts';
import { folderOf, memoryOf, pagesOf, texts } from './captured-guest.ts';
import { done, leafText, walkedLeaves } from './driver-leaves.ts';

const NAME = 'amdvi-e1000';

interface Guest {
  readonly unit: AmdviIommu;
  readonly driver: AmdviGuestDriver;
  readonly requester: RequesterId;
  readonly capture: Capture;
  readonly events: readonly CaptureEvent[];
}

async function running(): Promise<Guest> {
  const capture = await readCapture(folderOf(NAME));
  const events = (await capture.events()) ?? [];
  const memory = memoryOf(capture, [...((await capture.memory())?.pages() ?? [])]);
  const unit = AmdviIommu.fromRegisters({ memory, bytes: capture.requireRegisters(0x38).start.bytes });
  const used = [...(await pagesOf(capture)), ...targetsOf(events)];
  const allocator = new PageAllocator(capture.ram, used);
  const driver = new AmdviGuestDriver({ memory, registers: unit, allocator });
  driver.attach();
  const requester = parseRequesterId(capture.plugRequester ?? '') as RequesterId;
  return { unit, driver, requester, capture, events };
}

function play({ capture, driver, requester }: Guest, events: readonly CaptureEvent[]): void {
  const deviceTarget = Math.max(...capture.ram.map((range) => range.end)) + 1;
  const player = new GuestEventPlayer(driver, requester, { deviceTarget });
  for (const event of events) done(player.play(event));
}

describe.skipIf(!existsSync(folderOf(NAME)))(`the guest of ${NAME}, its driver taken over`, () => {
  it('holds the captured mappings before anything is played', async () => {
    const { unit, requester, capture } = await running();

    expect(walkedLeaves(unit, requester)).toEqual(texts(await capture.mappings()));
  });

  it('gives a new domain an identifier that the guest does not use', async () => {
    const { driver, requester } = await running();

    const domain = driver.createDomain({ mode: 3 });

    expect(driver.domainOf(requester)?.id).toBe(6);
    expect(domain.id).toBe(7);
  });

  describe('after all events as the tables would tell them', () => {
    const sink = new StrictSink();
    let guest: Guest;
    let final: readonly string[];

    beforeAll(async () => {
      guest = await running();
      const { unit, requester, capture, events } = guest;
      unit.requesterSpace(requester).region.registerNotifierReplay(sink, 4096n, false);
      final = texts(await capture.finalMappings());
      play(guest, eventsAsInTables(events, (await capture.finalMappings()) ?? []));
    });

    it('holds the final mappings', () => {
      expect(guest.events.length).toBeGreaterThan(23_000);
      expect(walkedLeaves(guest.unit, guest.requester)).toEqual(final);
    });

    it('has told them all to a shadow that followed', () => {
      const held = sink.held.map(({ iova, pages, target, access }) => leafText(iova, pages, target, access));

      expect(held).toEqual(final);
      expect(sink.violations).toEqual([]);
    });

    it('has logged no event', () => {
      expect(guest.driver.events()).toEqual([]);
    });
  });
});
