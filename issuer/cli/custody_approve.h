/*
 * Commands around approvals of PCR values (hsm/approval.h): what a machine's PCRs are, approving them with an offline
 * key, ending older approvals.  Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_CLI_CUSTODY_APPROVE_H
#define WRIT_ISSUER_CLI_CUSTODY_APPROVE_H

int custody_pcrs_cmd(int argc, char **argv);
int custody_approve_cmd(int argc, char **argv);
int custody_raise_cmd(int argc, char **argv);

#endif
