/* What the files of xml share, and their tests see. */
#ifndef XML_XML_PRIVATE_H
#define XML_XML_PRIVATE_H

#include "xml.h"

#define XML_BOM "\xEF\xBB\xBF"

/* Judges the XML declaration at the start of s (behind a byte order mark), when there is one: version
 * 1.0, and UTF-8 or no encoding named. It must be whole in s. -1: ERR_ENCODING. */
int xml_check_declaration(struct slice s, struct err *e);
/* s starts with an XML declaration, whole or not. */
bool xml_is_declaration(struct slice s);

/* The most bytes that libxml2 was left with to look through again when more comes: what bounds its work. */
size_t xml_whole_kept_most(const struct xml_whole *w);

#endif
