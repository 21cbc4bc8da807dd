/**
 * The audit.k8s.io Event as Kubernetes defines it, after decoding: one shape for v1, v1beta1 and v1alpha1.
 * Source: staging/src/k8s.io/apiserver/pkg/apis/audit/types.go.
 */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type JsonObject = { [key: string]: Json };

/** Stages in the order the apiserver emits them; a request has one of ResponseComplete and Panic, unless it was cut. */
export const STAGES = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'] as const;
export type Stage = (typeof STAGES)[number];

export const LEVELS = ['None', 'Metadata', 'Request', 'RequestResponse'] as const;
export type Level = (typeof LEVELS)[number];

/** authentication.k8s.io UserInfo. `extra` carries credential-id, pod-name, OIDC claims and the like. */
export interface UserInfo {
  username: string;
  uid?: string;
  groups?: string[];
  extra?: Record<string, string[]>;
}

/** Empty strings in the source are dropped, so that an absent and an empty field are one thing. */
export interface ObjectReference {
  resource?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  apiGroup?: string;
  apiVersion?: string;
  resourceVersion?: string;
  subresource?: string;
}

/** The part of metav1.Status that an audit event carries. `code` is an HTTP status. */
export interface ResponseStatus {
  code?: number;
  status?: string;
  reason?: string;
  message?: string;
  details?: Json;
}

export interface AuthenticationMetadata {
  impersonationConstraint?: string;
}

/** One audit event. Timestamps are microseconds since the Unix epoch (the precision of metav1.MicroTime). */
export interface AuditEvent {
  apiVersion: 'audit.k8s.io/v1' | 'audit.k8s.io/v1beta1' | 'audit.k8s.io/v1alpha1';
  level: Level;
  auditID: string;
  stage: Stage;
  requestURI: string;
  verb: string;
  user: UserInfo;
  impersonatedUser?: UserInfo;
  sourceIPs?: string[];
  userAgent?: string;
  objectRef?: ObjectReference;
  responseStatus?: ResponseStatus;
  requestObject?: Json;
  responseObject?: Json;
  requestReceivedTimestamp: number;
  stageTimestamp: number;
  annotations?: Record<string, string>;
  authenticationMetadata?: AuthenticationMetadata;
}
