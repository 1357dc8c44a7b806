import type { Scenario } from '../scenario.ts';

/** What no unit takes from its invalidation queue. */
export const VTD_QUEUE: readonly Scenario[] = [
  {
    id: 'vtd-unknown-descriptor',
    model: 'vtd',
    title: 'a descriptor of a type that nobody knows stops the queue, which goes on without it',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'request', bytes: '0f000000000000000000000000000000', answer: 'refused' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-reserved-granularity',
    model: 'vtd',
    title: 'an IOTLB invalidation with a reserved granularity stops the queue',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'request', bytes: '02000000000000000000000000000000', answer: 'refused' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
];
