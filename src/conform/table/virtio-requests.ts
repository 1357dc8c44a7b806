import type { Finding, Scenario, Step } from '../scenario.ts';

/** A plugged device that is attached to a domain with one mapping. */
const ONE_MAPPING: readonly Step[] = [
  { do: 'domain', name: 'd' },
  { do: 'plug', who: 'nic' },
  { do: 'attach', who: 'nic', domain: 'd' },
  { do: 'map', domain: 'd', iova: '0x10000', size: '64K', to: '0x100001000', access: 'rw' },
];

const NO_TAIL: Finding = {
  id: 'R48',
  qemu: 'sets DEVICE_NEEDS_RESET, and answers nothing any more.',
  section: 'virtio 1.3, 5.13.6',
  requires:
    'a device that cannot parse a request and set its status returns the buffers without writing to them.',
};

/** Requests that are no good, or cannot be carried out, and what is told without being asked: faults. */
export const VIRTIO_REQUESTS: readonly Scenario[] = [
  {
    id: 'virtio-detach-twice',
    model: 'virtio-iommu',
    title: 'an endpoint is detached that is attached to nothing',
    steps: [
      ...ONE_MAPPING,
      { do: 'detach', who: 'nic' },
      { do: 'detach', who: 'nic', answer: 'INVAL', qemu: { answer: 'NOENT' } },
    ],
    finding: {
      id: 'R37',
      qemu: 'answers NOENT, though the endpoint exists.',
      section: 'virtio 1.3, 5.13.6.4.2',
      requires:
        'NOENT is for an endpoint that does not exist; for one that is not attached to the domain the device may answer INVAL.',
    },
  },
  {
    id: 'virtio-attach-flag',
    model: 'virtio-iommu',
    title: 'an ATTACH whose BYPASS flag is not that of the domain is refused and changes nothing',
    steps: [
      ...ONE_MAPPING,
      // ATTACH, domain 1, endpoint 01:00.0, flags BYPASS.
      {
        do: 'request',
        bytes: '0100000001000000000100000100000000000000',
        answer: 'INVAL',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: ['0x10000 64K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: 'RAM' } },
      },
    ],
    finding: {
      id: 'R38',
      qemu: 'detaches the endpoint first, by which the domain ends, and makes a bypass domain of its name.',
      section: 'virtio 1.3, 5.13.6.3.2',
      requires:
        'the device should reject the request with INVAL when the domain exists and the flag is not consistent with it.',
    },
  },
  {
    id: 'virtio-attach-flag-other',
    model: 'virtio-iommu',
    title: 'an ATTACH without the BYPASS flag to the bypass domain of another endpoint is refused',
    steps: [
      ...ONE_MAPPING,
      { do: 'domain', name: 'pt', kind: 'pass-through' },
      { do: 'plug', who: 'disk' },
      { do: 'attach', who: 'disk', domain: 'pt' },
      // ATTACH, domain 2, endpoint 01:00.0, no flags.
      { do: 'request', bytes: '0100000002000000000100000000000000000000', answer: 'INVAL' },
      {
        do: 'expect',
        ledger: { nic: ['0x10000 64K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: [] } },
      },
      { do: 'detach', who: 'nic', qemu: { answer: 'INVAL' } },
    ],
    finding: {
      id: 'R38',
      qemu: 'answers INVAL, and has detached the endpoint all the same.',
      section: 'virtio 1.3, 5.13.6.3.2',
      requires:
        'the device should reject the request with INVAL when the domain exists and the flag is not consistent with it.',
    },
  },
  {
    id: 'virtio-attach-reserved',
    model: 'virtio-iommu',
    title: 'an ATTACH with a reserved field that is not zero',
    steps: [
      { do: 'plug', who: 'nic' },
      {
        do: 'request',
        bytes: '0100000001000000000100000000000001000000',
        answer: 'INVAL',
        qemu: { answer: 'done' },
      },
    ],
    finding: {
      id: 'R39',
      qemu: 'answers OK.',
      section: 'virtio 1.3, 5.13.6.3.2',
      requires: 'the device must reject a request whose reserved field is not zero, with INVAL.',
    },
  },
  {
    id: 'virtio-attach-beyond',
    model: 'virtio-iommu',
    title: 'an ATTACH of endpoint 0x10100, which no machine has',
    steps: [
      ...ONE_MAPPING,
      {
        do: 'request',
        bytes: '0100000002000000000101000000000000000000',
        answer: 'NOENT',
        qemu: { answer: 'done' },
      },
      { do: 'domain', name: 'e' },
      {
        do: 'map',
        domain: 'e',
        iova: '0x2000',
        size: '4K',
        to: '0x100002000',
        access: 'rw',
        answer: 'NOENT',
        qemu: { answer: 'done' },
      },
      {
        do: 'expect',
        ledger: { nic: ['0x10000 64K -> 0x100001000 rw'] },
        qemu: { ledger: { nic: ['0x2000 4K -> 0x100002000 rw', '0x10000 64K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R40',
      qemu: 'takes it for endpoint 0x100, which is in two domains then.',
      section: 'virtio 1.3, 5.13.6.3.2',
      requires: 'the device must reject a request for an endpoint that does not exist, with NOENT.',
    },
  },
  {
    id: 'virtio-unknown-type',
    model: 'virtio-iommu',
    title: 'a request of a type that nobody knows',
    steps: [
      {
        do: 'request',
        bytes: '0900000001000000000100000000000000000000',
        answer: 'no status, 0 bytes used',
        qemu: { answer: 'UNSUPP' },
      },
    ],
    finding: {
      id: 'R41',
      qemu: 'writes a tail with UNSUPP.',
      section: 'virtio 1.3, 5.13.6.2',
      requires:
        'when a type is not recognized, the device should not write the buffer and should set the used length to zero.',
    },
  },
  {
    id: 'virtio-no-tail',
    model: 'virtio-iommu',
    title: 'a request with room for half a tail',
    steps: [
      {
        do: 'request',
        bytes: '0100000001000000000100000000000000000000',
        tail: 2,
        answer: 'no status, 0 bytes used',
        qemu: { answer: 'needs a reset' },
      },
    ],
    finding: NO_TAIL,
  },
  {
    id: 'virtio-no-head',
    model: 'virtio-iommu',
    title: 'a request of which nothing can be read',
    steps: [
      {
        do: 'request',
        bytes: '',
        answer: 'no status, 0 bytes used',
        qemu: { answer: 'needs a reset' },
      },
    ],
    finding: NO_TAIL,
  },
  {
    id: 'virtio-probe',
    model: 'virtio-iommu',
    title: 'a PROBE tells of the interrupt doorbell',
    steps: [
      { do: 'plug', who: 'nic' },
      { do: 'probe', who: 'nic', answer: 'MSI 0xfee00000 1M' },
    ],
  },
  {
    id: 'virtio-attach-full',
    model: 'virtio-iommu',
    title: 'an ATTACH whose mappings the host cannot hold is refused, and the endpoint stays where it was',
    steps: [
      ...ONE_MAPPING,
      { do: 'map', domain: 'd', iova: '0x40000', size: '4K', to: '0x100040000', access: 'rw' },
      { do: 'plug', who: 'disk', sink: { maxMappings: 1 } },
      { do: 'attach', who: 'disk', domain: 'd', answer: 'UNSUPP', qemu: { answer: 'done' } },
      {
        do: 'expect',
        ledger: { disk: [] },
        qemu: { ledger: { disk: ['0x10000 64K -> 0x100001000 rw'] } },
      },
    ],
    finding: {
      id: 'R21',
      qemu: 'answers OK, prints the refusal, and goes on with half of the mappings.',
      section: 'virtio 1.3, 5.13.6.3.2',
      requires:
        'a device that cannot attach an endpoint beside another must reject the request with UNSUPP; one that does not reject it must attach the endpoint.',
    },
  },
  {
    id: 'virtio-faults',
    model: 'virtio-iommu',
    title: 'accesses without a mapping, without permission and without a domain are reported',
    steps: [
      { do: 'domain', name: 'd' },
      { do: 'attach', who: 'edu', domain: 'd' },
      { do: 'map', domain: 'd', iova: '0x1000', size: '4K', to: '0x100001000', access: 'r' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      { do: 'expect', faults: [] },
      { do: 'dma', access: 'w', iova: '0x1000' },
      { do: 'expect', faults: ['00:05.0 w 0x1000 MAPPING'] },
      { do: 'dma', access: 'r', iova: '0x9000' },
      {
        do: 'expect',
        faults: ['00:05.0 r 0x9000 MAPPING'],
        qemu: { faults: ['00:05.0 ? 0x9000 MAPPING'] },
      },
      { do: 'detach', who: 'edu' },
      { do: 'dma', access: 'r', iova: '0x1000' },
      {
        do: 'expect',
        faults: ['00:05.0 r 0x1000 DOMAIN'],
        qemu: { faults: ['00:05.0 ? 0x1000 UNKNOWN'] },
      },
    ],
    finding: {
      id: 'R44',
      qemu: 'does not say whether it was a read, and gives no reason for an endpoint without a domain.',
      section: 'virtio 1.3, 5.13.6.9',
      requires:
        'DOMAIN: the endpoint is not attached to a domain; flags READ and WRITE say which access it was.',
    },
  },
];
