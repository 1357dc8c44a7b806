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

/** Domains, and who is in them. */
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
    id: 'vtd-scalable-switch',
    model: 'vtd',
    title: 'scalable mode: a PASID-table entry is rewritten in place for another domain',
    machine: { mode: 'scalable' },
    steps: [
      ...TWO_DOMAINS,
      { do: 'plug', who: 'nic' },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x5000 4K -> 0x100005000 rw'] } },
      { do: 'switch', who: 'nic', domain: 'b' },
      {
        do: 'expect',
        ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x5000 4K -> 0x100005000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x5000 4K -> 0x100005000 rw'] } },
      },
    ],
    finding: {
      id: 'R19',
      qemu: 'looks for the entry in its own cache, where that of a hotplugged device is not yet, and does nothing.',
      section: 'VT-d 6.5.2.2',
      requires: 'the invalidation of a PASID-table entry by domain and PASID ends what was cached of it.',
    },
  },
  {
    id: 'vtd-scalable-follow',
    model: 'vtd',
    title: 'scalable mode: pages come and go in second-stage tables',
    machine: { mode: 'scalable' },
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'plug', who: 'nic' },
      { do: 'map', domain: 'd', iova: '0x400000', size: '2M', to: '0x100400000', access: 'rw', leaf: '2M' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'expect', ledger: { nic: ['0x400000 2M -> 0x100400000 rw'] } },
    ],
  },
  {
    id: 'vtd-first-stage',
    model: 'vtd',
    title: 'scalable mode: a device is plugged that first-stage tables translate',
    machine: { mode: 'first-stage' },
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'first-stage', who: 'nic' },
      { do: 'plug', who: 'nic', answer: 'refused', qemu: { answer: 'done' } },
    ],
    finding: {
      id: 'R15',
      qemu: 'accepts the device and never sends it a mapping.',
      section: 'VT-d 6.1',
      requires:
        'new first-stage entries need not be reported even in caching mode, so nobody can follow them for a host.',
    },
  },
];
