import type { Scenario, Step } from '../scenario.ts';

/** A plugged device that is attached to a domain. */
export const ATTACHED: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'plug', who: 'nic' },
  { do: 'attach', who: 'nic', domain: 'd' },
];

/** MAP and UNMAP, and hosts that take them or do not. */
export const VIRTIO_MAPPINGS: readonly Scenario[] = [
  {
    id: 'virtio-map',
    model: 'virtio-iommu',
    title: 'a MAP of any size is one mapping, and its UNMAP takes it away',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x4000', size: '16K', to: '0x100003000', access: 'r' },
      { do: 'map', domain: 'd', iova: '0x10000', size: '4K', to: '0x100010000', access: 'w' },
      {
        do: 'expect',
        ledger: {
          nic: ['0x1000 4K -> 0x100001000 rw', '0x4000 16K -> 0x100003000 r', '0x10000 4K -> 0x100010000 w'],
        },
        messages: { nic: { maps: 3, unmaps: 0 } },
      },
      { do: 'unmap', domain: 'd', iova: '0x4000', size: '16K' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x10000 4K -> 0x100010000 w'] },
        messages: { nic: { maps: 0, unmaps: 1 } },
      },
    ],
  },
  {
    id: 'virtio-map-large',
    model: 'virtio-iommu',
    title: 'a MAP of 1 GiB and a page is one mapping',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1fffff000', size: '0x40001000', to: '0x100000000', access: 'rw' },
      { do: 'expect', ledger: { nic: ['0x1fffff000 1048580K -> 0x100000000 rw'] } },
    ],
  },
  {
    id: 'virtio-unmap-many',
    model: 'virtio-iommu',
    title: 'one UNMAP takes several mappings away, and the holes between them',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x8000', size: '16K', to: '0x100008000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x20000', size: '4K', to: '0x100020000', access: 'rw' },
      { do: 'unmap', domain: 'd', iova: '0x0', size: '64K' },
      { do: 'expect', ledger: { nic: ['0x20000 4K -> 0x100020000 rw'] } },
      { do: 'unmap', domain: 'd', iova: '0x0', size: '64K' },
      { do: 'expect', ledger: { nic: ['0x20000 4K -> 0x100020000 rw'] } },
    ],
  },
  {
    id: 'virtio-map-overlap',
    model: 'virtio-iommu',
    title: 'a MAP over what is mapped is refused and changes nothing',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x4000', size: '8K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x4000',
        size: '8K',
        to: '0x100001000',
        access: 'rw',
        answer: 'INVAL',
      },
      { do: 'map', domain: 'd', iova: '0x5000', size: '8K', to: '0x100008000', access: 'r', answer: 'INVAL' },
      {
        do: 'expect',
        ledger: { nic: ['0x4000 8K -> 0x100001000 rw'] },
        messages: { nic: { maps: 1, unmaps: 0 } },
      },
    ],
  },
  {
    id: 'virtio-unmap-split',
    model: 'virtio-iommu',
    title: 'an UNMAP that would split one of several mappings is refused and removes none',
    steps: [
      ...ATTACHED,
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      { do: 'map', domain: 'd', iova: '0x2000', size: '8K', to: '0x100002000', access: 'rw' },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '8K', answer: 'RANGE' },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x2000 8K -> 0x100002000 rw'] },
        qemu: { ledger: { nic: ['0x2000 8K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R11',
      qemu: 'answers RANGE, and has removed the other mapping.',
      section: 'virtio 1.3, 5.13.6.6.2',
      requires:
        'if the range would split a mapping, the device should answer RANGE and should not remove any mapping.',
    },
  },
  {
    id: 'virtio-no-domain',
    model: 'virtio-iommu',
    title: 'MAP and UNMAP in a domain that does not exist',
    steps: [
      ...ATTACHED,
      { do: 'domain', name: 'nobody' },
      {
        do: 'map',
        domain: 'nobody',
        iova: '0x1000',
        size: '4K',
        to: '0x100001000',
        access: 'rw',
        answer: 'NOENT',
      },
      { do: 'unmap', domain: 'nobody', iova: '0x1000', size: '4K', answer: 'NOENT' },
    ],
  },
  {
    id: 'virtio-full',
    model: 'virtio-iommu',
    title: 'a MAP that the host of the device cannot take is refused and changes nothing',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'plug', who: 'nic', sink: { maxMappings: 1 } },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x2000',
        size: '4K',
        to: '0x100002000',
        access: 'rw',
        answer: 'NOMEM',
        qemu: { answer: 'done' },
      },
      { do: 'expect', ledger: { nic: ['0x1000 4K -> 0x100001000 rw'] } },
      { do: 'unmap', domain: 'd', iova: '0x1000', size: '4K' },
      { do: 'map', domain: 'd', iova: '0x3000', size: '4K', to: '0x100003000', access: 'rw' },
      { do: 'expect', ledger: { nic: ['0x3000 4K -> 0x100003000 rw'] } },
    ],
    finding: {
      id: 'R21',
      qemu: 'answers OK, prints the refusal, and goes on: guest and host disagree.',
      section: 'virtio 1.3, 5.13.6.5',
      requires:
        'after the request succeeds, all endpoints of the domain can access memory in the range; NOMEM stands for insufficient resources.',
    },
  },
  {
    id: 'virtio-full-one-of-two',
    model: 'virtio-iommu',
    title: 'a MAP in a domain of two devices, of which one host has no room',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'plug', who: 'nic' },
      { do: 'plug', who: 'disk', sink: { end: '0x100000000' } },
      { do: 'attach', who: 'nic', domain: 'd' },
      { do: 'attach', who: 'disk', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'rw' },
      {
        do: 'map',
        domain: 'd',
        iova: '0x100000000',
        size: '4K',
        to: '0x100002000',
        access: 'rw',
        answer: 'NOMEM',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: ['0x1000 4K -> 0x100001000 rw'], disk: ['0x1000 4K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: ['0x1000 4K -> 0x100001000 rw', '0x100000000 4K -> 0x100002000 rw'] } },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'answers OK, prints the refusal, and goes on: the devices of one domain reach different memory.',
      section: 'virtio 1.3, 5.13.6.5',
      requires:
        'after the request succeeds, all endpoints of the domain can access memory in the range; NOMEM stands for insufficient resources.',
    },
  },
];
