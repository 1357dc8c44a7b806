import type { Scenario, Step } from '../scenario.ts';

/** Two domains with a page each, the device in the first. */
const TWO_DOMAINS: readonly Step[] = [
  { do: 'domain', name: 'a' },
  { do: 'domain', name: 'b' },
  { do: 'map', domain: 'a', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
  { do: 'map', domain: 'a', iova: '0x5000', size: '4K', to: '0x100005000', access: 'rw' },
  { do: 'map', domain: 'b', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
  { do: 'map', domain: 'b', iova: '0x5000', size: '4K', to: '0x100005000', access: 'rw' },
  { do: 'attach', who: 'nic', domain: 'a' },
];

/** Domains, and who is in them, in legacy mode. */
export const VTD_DOMAINS: readonly Scenario[] = [
  {
    id: 'vtd-switch',
    model: 'vtd',
    title: 'a device moves to another domain and back',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'b' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
      { do: 'switch', who: 'nic', domain: 'a' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-detach',
    model: 'vtd',
    title: 'a device is detached, plugged or not, and attached again',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'detach', who: 'nic' },
      { do: 'expect', ledger: { nic: [] } },
      { do: 'attach', who: 'nic', domain: 'b' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-plug-unattached',
    model: 'vtd',
    title: 'a device is plugged that no domain has yet',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: [] } },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
    ],
  },
  {
    id: 'vtd-two-devices',
    model: 'vtd',
    title: 'two devices in one domain follow together, and one goes',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'attach', who: 'disk', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'plug', who: 'disk' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
          disk: ['0x1000 4K -> 0x100001000 rw', '0x2000 4K -> 0x100002000 rw'],
        },
      },
      { do: 'detach', who: 'nic' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'expect', ledger: { nic: [], disk: ['0x2000 4K -> 0x100002000 rw'] } },
    ],
  },
  {
    id: 'vtd-bridge',
    model: 'vtd',
    title: 'two devices behind one PCIe-to-PCI bridge are one requester',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'pci1', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'pci1' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '4K', to: '0x100002000', access: 'rw' },
      { do: 'plug', who: 'pci2' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      {
        do: 'expect',
        ledger: { pci1: ['0x2000 4K -> 0x100002000 rw'], pci2: ['0x2000 4K -> 0x100002000 rw'] },
      },
      { do: 'unplug', who: 'pci1' },
      { do: 'map', domain: 'd', iova: '0x3000', size: '4K', to: '0x100003000', access: 'rw' },
      {
        do: 'expect',
        ledger: { pci2: ['0x2000 4K -> 0x100002000 rw', '0x3000 4K -> 0x100003000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-pass-through',
    model: 'vtd',
    title: 'a device is passed through, and then is not',
    steps: [
      { do: 'domain', name: 'pt', kind: 'pass-through' },
      { do: 'domain', name: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'attach', who: 'nic', domain: 'pt' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: 'RAM' } },
      { do: 'switch', who: 'nic', domain: 'd' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      { do: 'switch', who: 'nic', domain: 'pt' },
      { do: 'expect', ledger: { nic: 'RAM' } },
    ],
  },
  {
    id: 'vtd-switch-untold',
    model: 'vtd',
    title: 'a context entry is rewritten, and takes effect when it is invalidated',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'switch', who: 'nic', domain: 'b', tell: false },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x5000 4K -> 0x100005000 rw'] },
        messages: { nic: { maps: 2, unmaps: 0 } },
      },
      { do: 'invalidate', what: 'structures' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-spoilt',
    model: 'vtd',
    title: 'a context entry gets a reserved bit, which counts when it is invalidated, and is written anew',
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'spoil', who: 'nic' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
      { do: 'invalidate', what: 'structures' },
      { do: 'expect', ledger: { nic: [] } },
      { do: 'switch', who: 'nic', domain: 'b' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x5000 4K -> 0x100005000 rw'] },
      },
    ],
  },
  {
    id: 'vtd-spoilt-plug',
    model: 'vtd',
    title: 'a device is plugged whose context entry has a reserved bit set',
    steps: [
      ...TWO_DOMAINS,
      { do: 'spoil', who: 'nic' },
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: [] } },
    ],
  },
];
