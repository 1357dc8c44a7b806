import { type RequesterId, requesterId } from '../iommu/index.ts';
import type { Requester } from './scenario.ts';

/** Under which ID the IOMMU sees each requester. */
export const REQUESTERS: Readonly<Record<Requester, RequesterId>> = {
  nic: requesterId(1, 0, 0),
  disk: requesterId(4, 0, 0),
  pci1: requesterId(3, 0, 0),
  pci2: requesterId(3, 0, 0),
  edu: requesterId(0, 5, 0),
};
