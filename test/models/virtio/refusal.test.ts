import { describe, expect, test } from 'vitest';
import { spec } from '../../../src/models/virtio/index.ts';
import { type HostStrictness, MemoryHostIommu } from '../../../src/vfio/index.ts';
import { type Answers, DelayedHostIommu } from '../../vfio/delayed-host.ts';
import { held } from '../../vfio/world.ts';
import { attach, detach, Guest, map, RAM_PAGES, unmap } from './guest.ts';

const DOMAIN = 7;

interface Setting {
  readonly strictness: HostStrictness;
  readonly answers: Answers;
}

const SETTINGS: readonly Setting[] = [
  { strictness: 'vfio-user', answers: 'at-once' },
  { strictness: 'vfio-user', answers: 'later' },
  { strictness: 'type1', answers: 'later' },
];

async function plug(guest: Guest, endpoint: number, { strictness, answers }: Setting, maxMappings = 1000) {
  const inner = new MemoryHostIommu({ strictness, maxMappings });
  const host = new DelayedHostIommu(inner, { answers });
  const container = await guest.plug(endpoint, host);
  return { inner, host, container };
}

/** Two endpoints in one domain, each with a host. */
async function pair(setting: Setting, maxMappings = 1000) {
  const guest = Guest.started({ bootBypass: false });
  await guest.done(attach(DOMAIN, 8));
  await guest.done(attach(DOMAIN, 9));
  const one = await plug(guest, 8, setting);
  const other = await plug(guest, 9, setting, maxMappings);
  return { guest, one, other };
}

describe.each(SETTINGS)('a request that a host refuses ($strictness, $answers)', (setting) => {
  test('a MAP that one of two hosts has no room for: S_NOMEM, and no host has it', async () => {
    const { guest, one, other } = await pair(setting, 1);
    await guest.done(map(DOMAIN, 1, 1, 1));

    const status = await guest.done(map(DOMAIN, 2, 1, 2));

    expect(status).toBe(spec.S_NOMEM);
    expect([held(one.inner), held(other.inner)]).toEqual([['1+1 -> 1 3'], ['1+1 -> 1 3']]);
    expect(guest.iommu.domainOf(8)?.mappings.size).toBe(1);
    expect([one.container.state.kind, other.container.state.kind]).toEqual(['attached', 'attached']);
  });

  test('a MAP that one of two hosts refuses: S_NOMEM, and it can be asked for again', async () => {
    const { guest, one, other } = await pair(setting);
    other.host.failAt = other.host.calls + 1;

    const first = await guest.done(map(DOMAIN, 2, 4, 2));
    const between = [held(one.inner), held(other.inner)];
    const second = await guest.done(map(DOMAIN, 2, 4, 2));

    expect([first, second]).toEqual([spec.S_NOMEM, spec.S_OK]);
    expect(between).toEqual([[], []]);
    expect([held(one.inner), held(other.inner)]).toEqual([['2+4 -> 2 3'], ['2+4 -> 2 3']]);
    expect(guest.observed.map(({ kind }) => kind)).toEqual(['request-refused']);
  });

  test('a MAP outside the aperture of a host, or finer than its pages: S_NOMEM', async () => {
    const guest = Guest.started({ bootBypass: false });
    await guest.done(attach(DOMAIN, 8));
    const host = new MemoryHostIommu({
      strictness: setting.strictness,
      pageSizes: 0x1_0000n,
      apertures: [{ start: 0, end: 0x100 }],
    });
    const container = await guest.plug(8, host);

    expect(await guest.done(map(DOMAIN, 0x100, 0x10, 0))).toBe(spec.S_NOMEM);
    expect(await guest.done(map(DOMAIN, 0x10, 1, 0))).toBe(spec.S_NOMEM);
    expect(await guest.done(map(DOMAIN, 0x10, 0x10, 0))).toBe(spec.S_OK);
    expect(held(host)).toEqual(['10+10 -> 0 3']);
    expect(container.state.kind).toBe('attached');
  });

  test.each([1, 2, 3, 4, 5])('of five MAPs made available together only number %i', async (n) => {
    const { guest, one, other } = await pair(setting);
    other.host.failAt = other.host.calls + n;
    const numbers = [1, 2, 3, 4, 5].map((page) =>
      guest.queue(spec.encodeRequest(map(DOMAIN, page, 1, page)), 4),
    );

    guest.iommu.device.notify(spec.REQUESTQ);
    await guest.iommu.settled();

    const statuses = numbers.map((number) => guest.reply(number)?.status);
    expect(statuses).toEqual([1, 2, 3, 4, 5].map((page) => (page === n ? spec.S_NOMEM : spec.S_OK)));
    const expected = [1, 2, 3, 4, 5].filter((page) => page !== n).map((page) => `${page}+1 -> ${page} 3`);
    expect([held(one.inner), held(other.inner)]).toEqual([expected, expected]);
  });

  test('a MAP over one that is refused in the end is not refused for it', async () => {
    const { guest, one, other } = await pair(setting);
    other.host.failAt = other.host.calls + 1;
    const numbers = [
      guest.queue(spec.encodeRequest(map(DOMAIN, 1, 1, 1)), 4),
      guest.queue(spec.encodeRequest(map(DOMAIN, 0, 4, 8)), 4),
      guest.queue(spec.encodeRequest(unmap(DOMAIN, 0, 4)), 4),
      guest.queue(spec.encodeRequest(map(DOMAIN, 2, 1, 2)), 4),
    ];

    guest.iommu.device.notify(spec.REQUESTQ);
    await guest.iommu.settled();

    expect(numbers.map((number) => guest.reply(number)?.status)).toEqual([
      spec.S_NOMEM,
      spec.S_OK,
      spec.S_OK,
      spec.S_OK,
    ]);
    expect([held(one.inner), held(other.inner)]).toEqual([['2+1 -> 2 3'], ['2+1 -> 2 3']]);
  });

  test.each([1, 2])(
    'a MAP of page %i behind an UNMAP made available together with it: S_NOMEM',
    async (page) => {
      const { guest, one, other } = await pair(setting);
      await guest.done(map(DOMAIN, 1, 1, 1));
      other.host.failAt = other.host.calls + 2;
      const numbers = [unmap(DOMAIN, 1, 1), map(DOMAIN, page, 1, 8)].map((request) =>
        guest.queue(spec.encodeRequest(request), 4),
      );

      guest.iommu.device.notify(spec.REQUESTQ);
      await guest.iommu.settled();

      expect(numbers.map((number) => guest.reply(number)?.status)).toEqual([spec.S_OK, spec.S_NOMEM]);
      expect([held(one.inner), held(other.inner)]).toEqual([[], []]);
      expect([one.container.state.kind, other.container.state.kind]).toEqual(['attached', 'attached']);
    },
  );

  test.each([1, 2, 3, 4])(
    'an ATTACH of which mapping %i is refused: S_UNSUPP, and the endpoint stays where it was',
    async (n) => {
      const guest = Guest.started({ bootBypass: false });
      await guest.done(attach(DOMAIN, 8));
      await guest.done(attach(9, 9));
      for (let page = 1; page <= 2; page++) await guest.done(map(9, page, 1, 0x10 + page));
      for (let page = 1; page <= 4; page++) await guest.done(map(DOMAIN, page, 1, page));
      const { inner, host, container } = await plug(guest, 9, setting);
      const before = held(inner);
      host.failAt = host.calls + 2 + n;

      const status = await guest.done(attach(DOMAIN, 9));

      expect(status).toBe(spec.S_UNSUPP);
      expect(guest.iommu.domainOf(9)?.id).toBe(9);
      expect(guest.iommu.domainOf(9)?.mappings.size).toBe(2);
      expect(held(inner)).toEqual(before);
      expect(container.state.kind).toBe('attached');
      expect(await guest.done(attach(DOMAIN, 9))).toBe(spec.S_OK);
      expect(held(inner)).toEqual([1, 2, 3, 4].map((page) => `${page}+1 -> ${page} 3`));
    },
  );

  test('an ATTACH that a host has no room for leads back to bypass mode', async () => {
    const guest = Guest.started();
    await guest.done(attach(DOMAIN, 8));
    await guest.done(map(DOMAIN, 1, 1, 1));
    await guest.done(map(DOMAIN, 2, 1, 2));
    const { inner } = await plug(guest, 9, setting, 1);
    const before = held(inner);

    const status = await guest.done(attach(DOMAIN, 9));

    expect(status).toBe(spec.S_UNSUPP);
    expect(before).toEqual([`0+${RAM_PAGES.toString(16)} -> 0 3`]);
    expect(held(inner)).toEqual(before);
    expect(guest.iommu.domainOf(9)).toBeUndefined();
  });

  test('a way back that is refused, too, is a fault report of reason UNKNOWN', async () => {
    const guest = Guest.started({ bootBypass: false });
    guest.offerEvents(4);
    await guest.done(attach(DOMAIN, 8));
    await guest.done(map(DOMAIN, 1, 1, 1));
    await guest.done(attach(9, 9));
    await guest.done(map(9, 1, 1, 0x11));
    const { inner, host, container } = await plug(guest, 9, setting);
    host.failAt = host.calls + 2;
    // From the refused map on: barrier, map, barrier, map.
    host.failures = 5;

    const status = await guest.done(attach(DOMAIN, 9));

    expect(status).toBe(spec.S_UNSUPP);
    expect(held(inner)).toEqual([]);
    expect(container.state.kind).toBe('quarantined');
    expect(guest.faults()).toEqual([
      { reason: spec.FAULT_R_UNKNOWN, flags: spec.FAULT_F_ADDRESS | 3, endpoint: 9, address: 0x1000n },
    ]);
  });

  test('a host that is lost is a fault report, and the MAP stands for the others', async () => {
    const { guest, one, other } = await pair(setting);
    guest.offerEvents(1);
    other.host.fault = 'die';
    other.host.failAt = other.host.calls + 1;

    const status = await guest.done(map(DOMAIN, 1, 1, 1));

    expect(status).toBe(spec.S_OK);
    expect(held(one.inner)).toEqual(['1+1 -> 1 3']);
    expect(other.container.state.kind).toBe('host-lost');
    expect(guest.faults().map((fault) => [fault?.reason, fault?.endpoint])).toEqual([
      [spec.FAULT_R_UNKNOWN, 9],
    ]);
  });
});

describe('a request is answered only when the hosts have confirmed', () => {
  const setting: Setting = { strictness: 'vfio-user', answers: 'when-told' };

  /** An endpoint whose host answers when told, attached, with page 1 mapped. */
  async function waiting() {
    const guest = Guest.started({ bootBypass: false });
    guest.do(attach(DOMAIN, 8));
    guest.do(map(DOMAIN, 1, 1, 1));
    const inner = new MemoryHostIommu(setting);
    const host = new DelayedHostIommu(inner, setting);
    const plugged = guest.plug(8, host);
    host.answer();
    await plugged;
    return { guest, host };
  }

  test.each([
    ['MAP', map(DOMAIN, 2, 1, 2)],
    ['UNMAP', unmap(DOMAIN, 1, 1)],
    ['ATTACH', attach(9, 8)],
    ['DETACH', detach(DOMAIN, 8)],
  ])('%s', async (_name, request) => {
    const { guest, host } = await waiting();

    const number = guest.post(request);
    const early = guest.reply(number);
    host.answer();
    await guest.iommu.settled();

    expect(early).toBeUndefined();
    expect(guest.reply(number)?.status).toBe(spec.S_OK);
  });

  test('MAPs that are made available together wait for one barrier', async () => {
    const { guest, host } = await waiting();
    const before = host.barriers;
    for (let page = 2; page < 30; page++) guest.queue(spec.encodeRequest(map(DOMAIN, page, 1, page)), 4);

    guest.iommu.device.notify(spec.REQUESTQ);
    host.answer();
    await guest.iommu.settled();

    expect(guest.requests.used().length).toBe(28);
    expect(host.barriers - before).toBe(1);
  });

  test('a reset meanwhile is over when they have, and nothing is answered after it', async () => {
    const { guest, host } = await waiting();
    guest.post(map(DOMAIN, 2, 1, 2));
    guest.notified.length = 0;

    guest.iommu.device.writeStatus(0);
    const during = guest.iommu.device.status;
    host.answer();
    await new Promise((resolve) => setImmediate(resolve));
    host.answer();
    await guest.iommu.settled();

    expect(during).not.toBe(0);
    expect(guest.iommu.device.status).toBe(0);
    expect(guest.iommu.domainOf(8)).toBeUndefined();
    expect(guest.notified).toEqual([]);
  });
});
