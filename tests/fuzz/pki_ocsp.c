/* An OCSP answer from whoever answers at a responder's address, about a certificate of the corpus' own CA. */
#include "pki.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The CA that made the corpus, and a user of it; 2026 to 2046. */
static const char issuer_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIDEzCCAfugAwIBAgIUaTgjTW6ghOUKlwPtiXVOI4fdiKUwDQYJKoZIhvcNAQEL\n"
    "BQAwETEPMA0GA1UEAwwGSXNzdWVyMB4XDTI2MTEyMjAzNTYxM1oXDTQ2MTExNzAz\n"
    "NTYxM1owETEPMA0GA1UEAwwGSXNzdWVyMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n"
    "MIIBCgKCAQEAy9GLiYzV6ucoUF+h1g1gaAbEhwZF91zfBzcLcKc0oloydlaUDPe9\n"
    "fg0+FE8eDpF9ccNBVHuFqaa1I+v80pYPsn8Vqz4CFllu1P5GZVB7VelIkoY5sAov\n"
    "P0xa0onh8w13f2q1O19NaozlW+85XA5a3d8eEUJlFGcXtkmCngPsUg1vQ3+jm0io\n"
    "1MbRYW2Fsvq4EZxRhuieD/2BoudvrdaVXMza8movFSkVO5wqXIMBCTTvVGIaztan\n"
    "gY2CIfSAvNyz58o3UXcR8jCS3A6ALbqk23uLjuXMIe4TWq4XezAuGjY5rlUN/hn/\n"
    "fHqC8mDDPfPDnPQzwxie99sWWzNzSefmnQIDAQABo2MwYTAdBgNVHQ4EFgQU2iIK\n"
    "VJXKyxJJq6mk0G2ecROwDYgwHwYDVR0jBBgwFoAU2iIKVJXKyxJJq6mk0G2ecROw\n"
    "DYgwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwDQYJKoZIhvcNAQEL\n"
    "BQADggEBAF7dViCk6b+nkRaB7gnHmRIXPta3nMFByzkvSWWy5rMiXI6keVBSUu5e\n"
    "r/utEgkpl1UVJIs3tP0+bImaALkqZyD0fKgilvLDk3/jZfriluerCMNiAl2KAi+Y\n"
    "t+d+/CXSXeCbh0FX++beApIf+He+ahrWLWILNsqSYe1ylvz0eK68+fABHMu6no06\n"
    "EjuOvFO/i/bm/f8uZze3vT1QGeMtFYwMRobsrryH6Ya4V396TH4O1Y06JmSzXFs2\n"
    "tNlQ2jnPAwsP/uZP5Ah/6DF7GF0gyRf2fUprcmAw/IjJzoh9w+s8FBrNBO2QZQPq\n"
    "YtLqVI1YfkpAt3BgihllWfk8mujWNY4=\n"
    "-----END CERTIFICATE-----\n";
static const char user_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIClDCCAXwCAREwDQYJKoZIhvcNAQELBQAwETEPMA0GA1UEAwwGSXNzdWVyMB4X\n"
    "DTI2MTEyMjAzNTYxM1oXDTQ2MTExNzAzNTYxM1owDzENMAsGA1UEAwwEVXNlcjCC\n"
    "ASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAK4B4IPk8JtcMWLHzEc78Bk+\n"
    "TKmh2gN5S+lDSHE9gqF5EQKDMxQb8s41uf1NiP0SdpEiQmxRVJLhKsNnRobNYYtk\n"
    "cfPyN8L6t7Q/0n+Seliraz4rBEttK3T04SZdPCHDgn/4Njr1qxdF6HZkI7ZbY7eo\n"
    "84jhk3fme5aL45+8FgyJOGMVlZ+ivi2Lm/ssZewyGjaBsEj5YvKjXzSr5jHfzVzS\n"
    "ub/h+KxjzlKtFyFLKod5Wkltw6ArWrWx63bs7CIaomu7f4HEfHPNEq9E6G4Cc5X/\n"
    "yCI0RACkr5YLaAVmzi4asgwBGhX7mjGNDqSo6jL03Y+BFvn1Qqo11YGnixwE6FUC\n"
    "AwEAATANBgkqhkiG9w0BAQsFAAOCAQEAJe3AQ2sX7b89nFmOfw3UmLlgnQpr+KY1\n"
    "jNRk3GxIOWmV8XIIgrqBj9X/sxTheUvbC/lYyZ+C70k9mJHMTkd305GgXvmhgOkO\n"
    "SjOyMgwcrfV0qxzeSXuKHRuGViOQ4OcirlsbkMsYH7ENpcn364M3XalrjOf4mG61\n"
    "KPJ7eoVUf7NoeIjfj82qgLcO5oF3AJ8MB1k98OzbAM9FAjUsZmt0854Gn36LAbTV\n"
    "7rT3cAfXSa7S1scPq6zKDY7N7gho5Dt1+iP+6b6ikj04G6s68YBAmheXO9axW/5u\n"
    "iaHFbrziNpuQxKFMxeaxHOgLnV2f0krZ91vwaPxnWZZUurHm8LHmzg==\n"
    "-----END CERTIFICATE-----\n";
#define NOW INT64_C(1795319834)

static struct pki_ocsp asked;

static int
prepare(void)
{
	static struct arena *a;		/* for as long as the program lives */
	struct err e = { 0 };

	if (a != NULL)
		return 0;
	a = arena_new(1 << 20);
	if (a == NULL || pki_read_pem(a, slice_of(issuer_pem), &asked.issuer, &e) < 0 ||
	    pki_read_pem(a, slice_of(user_pem), &asked.cert, &e) < 0)
		return -1;
	return pki_ocsp_request(a, &asked, &e);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice answer = { (const char *)data, size };
	struct arena *a = arena_new(1 << 20);
	struct err e = { 0 };

	if (a == NULL || prepare() < 0)
		abort();
	int rc = pki_ocsp_judge(a, &asked, NULL, answer, NOW, &e);
	if ((rc == 0) != (e.kind == ERR_NONE))
		abort();
	arena_free(a);
	return 0;
}
