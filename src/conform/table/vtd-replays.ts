import type { Scenario, Step } from '../scenario.ts';

const START = 0x1_0000_0000;
const PAGE = 0x1000;
/** Scenarios list what a host holds up to this many mappings, and count them beyond. */
const MOST_LISTED = 4096;

/** A device is attached to a domain with `count` leaves of 4 KiB side by side, all above 4 GiB, and then plugged. */
function pluggedOnto(count: number): readonly Step[] {
  const [iova, size] = [hex(START), hex(count * PAGE)];
  return [
    { do: 'domain', name: 'd' },
    { do: 'attach', who: 'nic', domain: 'd' },
    { do: 'map', domain: 'd', iova, size, to: iova, access: 'rw', leaf: '4K' },
    { do: 'plug', who: 'nic' },
  ];
}

/** As many maps, no unmaps, nothing merged. */
function replayOf(count: number): Scenario {
  const lines = Array.from({ length: count }, (_, i) => {
    const address = hex(START + i * PAGE);
    return `${address} 4K -> ${address} rw`;
  });
  const leaves = count === 1 ? 'one leaf' : `${count.toLocaleString('en')} leaves`;
  return {
    id: `vtd-replay-${count}`,
    model: 'vtd',
    title: `a device is plugged onto ${leaves} of 4 KiB: as many maps, no unmaps, nothing merged`,
    watched: 'R12',
    steps: [
      ...pluggedOnto(count),
      {
        do: 'expect',
        ...(count > MOST_LISTED ? {} : { ledger: { nic: lines } }),
        messages: { nic: { maps: count, unmaps: 0 } },
      },
    ],
  };
}

function hex(bytes: number): string {
  return `0x${bytes.toString(16)}`;
}

/** Plugs onto what is mapped already: how much is said, how long it takes, how much is read. */
export const VTD_REPLAYS: readonly Scenario[] = [
  ...[1, 512, 4096, 60_000].map((count) => replayOf(count)),
  {
    id: 'vtd-replay-slow',
    model: 'vtd',
    title: 'a device is plugged whose host takes 100 ms for a mapping: all are there when the plug is over',
    watched: 'R13',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '12K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic', sink: { delay: 100 } },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw', '0x3000 4K -> 0x100003000 rw'],
        },
        messages: { nic: { maps: 3, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'vtd-replay-read-once',
    model: 'vtd',
    title: 'a device is plugged onto 100,000 leaves above 4 GiB: every table is read once',
    steps: [
      ...pluggedOnto(100_000),
      {
        do: 'expect',
        messages: { nic: { maps: 100_000, unmaps: 0 } },
        // 196 of level 1, and one of each other level.
        tables: { nic: 199 },
        qemu: { tables: { nic: 398 } },
      },
    ],
    finding: {
      id: 'R17',
      qemu: 'reads all of them twice, once for each side of the interrupt range.',
      section: 'no specification',
      requires: 'nothing is wrong but the time that it takes: once is enough.',
    },
  },
];
